//! All controllers against the real API server, in one process and over the memory store.
//!
//! A small stand-in for hosts makes pods ready; everything else is the product.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]

use std::sync::Arc;
use std::time::Duration;

use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::{ApiServer, Config as ServerConfig};
use coracle_client::cache::Object;
use coracle_client::{Cache, Caches, Client, Failure};
use coracle_controllers::{Config, Controllers};
use coracle_store::Store;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

/// Long enough for a loaded machine; nothing here waits for time to pass.
const PATIENCE: Duration = Duration::from_secs(120);

struct Cluster {
    client: Client,
    caches: Caches,
    controllers: Option<Controllers>,
    _data: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Cluster {
        Cluster::with(Config { root_ca: Some("PEM".into()), ..Config::default() }).await
    }

    async fn with(config: Config) -> Cluster {
        let data = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:6443".parse().unwrap();
        let server = ServerConfig::new(address, data.path().to_owned());
        let server = ApiServer::new(server, Store::memory()).await.unwrap();
        let user = UserInfo::component("kube-controller-manager");
        let client = Client::in_process(server.in_process(user));
        let caches = Caches::lean(client.clone());
        let controllers = Some(coracle_controllers::run(&caches, config));
        Cluster { client, caches, controllers, _data: data }
    }

    async fn create<K>(&self, object: Value) -> K
    where
        K: Object + Serialize + Resource<Scope = NamespaceResourceScope>,
    {
        let api = self
            .client
            .namespaced::<K>(object["metadata"]["namespace"].as_str().unwrap_or("default"));
        let object: K = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    /// Changes an object and gives its generation afterwards.
    async fn patch<K>(&self, name: &str, patch: Value) -> i64
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let api = self.client.namespaced::<K>("default");
        let made = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        made.meta().generation.unwrap_or(0)
    }

    /// Waits until what a cache holds fulfils a condition, and gives what that is.
    async fn until<K: Object, T>(&self, what: &str, find: impl Fn(&Cache<K>) -> Option<T>) -> T {
        let cache: Cache<K> = self.caches.get();
        let mut changes = cache.subscribe();
        let wait = async {
            cache.wait_synced().await;
            loop {
                if let Some(found) = find(&cache) {
                    return found;
                }
                changes.next().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => panic!("no {what}; there are {:#?}", cache.list()),
        }
    }

    async fn until_n_pods(&self, n: usize) -> Vec<Arc<Pod>> {
        self.until("number of pods", |pods: &Cache<Pod>| {
            let all = pods.list_in("default");
            (all.len() == n).then_some(all)
        })
        .await
    }

    /// Plays the hosts: every pod that comes runs at once, with an address of its own.
    fn run_pods(&self) -> tokio::task::JoinHandle<()> {
        let (client, pods) = (self.client.clone(), self.caches.get::<Pod>());
        tokio::spawn(async move {
            let mut changes = pods.subscribe();
            let mut n = 0;
            loop {
                let change = changes.next().await;
                let Some(pod) = change
                    .new
                    .filter(|pod| pod.status.as_ref().is_none_or(|status| status.pod_ip.is_none()))
                else {
                    continue;
                };
                n += 1;
                let ip = format!("10.128.0.{n}");
                let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                    "conditions": [{"type": "Ready", "status": "True",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
                let api = client.namespaced::<Pod>(&pod.namespace().unwrap());
                let patch = Patch::Merge(status);
                match api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
                    Err(error) if !error.is_not_found() => panic!("{error}"),
                    Ok(_) | Err(_) => {}
                }
            }
        })
    }

    /// Waits for an event of a reason: events are told after what they tell of.
    async fn until_event(&self, reason: &str) {
        self.until(reason, |events: &Cache<Event>| {
            let all = events.list_in("default");
            all.iter().any(|event| event.reason.as_deref() == Some(reason)).then_some(())
        })
        .await;
    }

    /// What the API itself has of a kind, without a cache that may be behind.
    async fn number_of<K>(&self, namespace: &str) -> usize
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let api = self.client.namespaced::<K>(namespace);
        api.list(&ListParams::default()).await.unwrap().items.len()
    }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image,
            "ports": [{"name": "http", "containerPort": 8080}]}]}})
}

fn deployment(replicas: i32) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}}, "template": template("v1")}})
}

fn is_rolled_out(deployment: &Deployment, replicas: i32) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let n = |count: Option<i32>| count.unwrap_or(0);
    status.observed_generation == deployment.metadata.generation
        && n(status.updated_replicas) == replicas
        && n(status.replicas) == replicas
        && n(status.available_replicas) == replicas
        && status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.reason.as_deref() == Some("NewReplicaSetAvailable"))
}

async fn until_rolled_out(cluster: &Cluster, replicas: i32, after: i64) -> Arc<Deployment> {
    cluster
        .until("rolled-out Deployment", |all: &Cache<Deployment>| {
            let found = all.get(Some("default"), "web")?;
            let new = found.metadata.generation.unwrap_or(0) >= after;
            (new && is_rolled_out(&found, replicas)).then_some(found)
        })
        .await
}

#[tokio::test]
async fn a_deployment_rolls_out_scales_updates_and_is_collected() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<Deployment>(deployment(3)).await;
    until_rolled_out(&cluster, 3, 1).await;
    let pods = cluster.until_n_pods(3).await;
    assert!(pods.iter().all(|pod| pod.name_any().starts_with("web-")));

    let new = cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 5}})).await;
    until_rolled_out(&cluster, 5, new).await;
    cluster.until_n_pods(5).await;

    let new =
        cluster.patch::<Deployment>("web", json!({"spec": {"template": template("v2")}})).await;
    let updated = until_rolled_out(&cluster, 5, new).await;
    assert_eq!(updated.annotations().get("deployment.kubernetes.io/revision").unwrap(), "2");
    let pods = cluster.until_n_pods(5).await;
    let image = |pod: &Arc<Pod>| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
    assert!(pods.iter().all(|pod| image(pod) == "v2"));
    cluster.until_event("ScalingReplicaSet").await;

    let api = cluster.client.namespaced::<Deployment>("default");
    api.delete("web", &DeleteParams::background()).await.unwrap();
    cluster.until_n_pods(0).await;
    cluster.until("no ReplicaSets", |sets: &Cache<ReplicaSet>| sets.is_empty().then_some(())).await;
    hosts.abort();
}

#[tokio::test]
async fn undo_brings_the_former_template_back_under_a_new_revision() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<Deployment>(deployment(2)).await;
    until_rolled_out(&cluster, 2, 1).await;
    let new =
        cluster.patch::<Deployment>("web", json!({"spec": {"template": template("v2")}})).await;
    until_rolled_out(&cluster, 2, new).await;
    let new =
        cluster.patch::<Deployment>("web", json!({"spec": {"template": template("v1")}})).await;
    let back = until_rolled_out(&cluster, 2, new).await;
    assert_eq!(back.annotations().get("deployment.kubernetes.io/revision").unwrap(), "3");
    let sets: Cache<ReplicaSet> = cluster.caches.get();
    assert_eq!(sets.len(), 2, "the first ReplicaSet came back");
    hosts.abort();
}

#[tokio::test]
async fn a_deleted_pod_is_replaced_and_a_relabelled_one_let_go() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<Deployment>(deployment(2)).await;
    let pods = cluster.until_n_pods(2).await;
    let (first, second) = (pods[0].name_any(), pods[1].name_any());
    let api = cluster.client.namespaced::<Pod>("default");
    api.delete(&first, &DeleteParams::default()).await.unwrap();
    cluster
        .until("replacement", |pods: &Cache<Pod>| {
            let gone = pods.get(Some("default"), &first).is_none();
            (gone && pods.list_in("default").len() == 2).then_some(())
        })
        .await;
    cluster.patch::<Pod>(&second, json!({"metadata": {"labels": {"app": "debug"}}})).await;
    let pods = cluster.until_n_pods(3).await;
    let freed = pods.iter().find(|pod| pod.name_any() == second).unwrap().name_any();
    cluster
        .until("pod without owner", |pods: &Cache<Pod>| {
            pods.get(Some("default"), &freed)?.owner_references().is_empty().then_some(())
        })
        .await;
    hosts.abort();
}

#[tokio::test]
async fn slices_follow_readiness_and_go_with_their_service() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster
        .create::<Service>(json!({"metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}))
        .await;
    cluster.create::<Deployment>(deployment(2)).await;
    let of_web = |slices: &Cache<EndpointSlice>| {
        let mut all = slices.list_in("default");
        all.retain(|slice| {
            slice.labels().get("kubernetes.io/service-name").is_some_and(|name| name == "web")
        });
        all
    };
    let ready = move |slices: &Cache<EndpointSlice>| {
        let all = of_web(slices);
        let endpoints = all.iter().flat_map(|slice| slice.endpoints.iter());
        endpoints.filter(|e| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true))).count()
    };
    cluster.until("two ready endpoints", |slices| (ready(slices) == 2).then_some(())).await;
    let pod = cluster.until_n_pods(2).await[0].name_any();
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let api = cluster.client.namespaced::<Pod>("default");
    api.patch_status(&pod, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let slice = cluster
        .until("one ready endpoint", |slices| (ready(slices) == 1).then(|| of_web(slices)))
        .await
        .remove(0);
    assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
    let api = cluster.client.namespaced::<Service>("default");
    api.delete("web", &DeleteParams::default()).await.unwrap();
    cluster.until("no slices", |slices| of_web(slices).is_empty().then_some(())).await;
    hosts.abort();
}

#[tokio::test]
async fn a_namespace_gets_its_defaults_and_goes_with_its_content() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    let api = cluster.client.cluster::<Namespace>();
    let namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    api.create(&PostParams::default(), &namespace).await.unwrap();
    cluster
        .until("default account", |all: &Cache<ServiceAccount>| all.get(Some("team"), "default"))
        .await;
    let root = cluster
        .until("root certificate", |all: &Cache<ConfigMap>| {
            all.get(Some("team"), "kube-root-ca.crt")
        })
        .await;
    assert_eq!(root.data.as_ref().unwrap()["ca.crt"], "PEM");
    let mut web = deployment(2);
    web["metadata"]["namespace"] = json!("team");
    cluster.create::<Deployment>(web).await;
    cluster
        .until("pods", |pods: &Cache<Pod>| (pods.list_in("team").len() == 2).then_some(()))
        .await;
    api.delete("team", &DeleteParams::default()).await.unwrap();
    cluster
        .until("no namespace", |all: &Cache<Namespace>| {
            all.get(None, "team").is_none().then_some(())
        })
        .await;
    assert_eq!(cluster.number_of::<Pod>("team").await, 0);
    hosts.abort();
}

#[tokio::test]
async fn orphaned_dependents_stay_and_foreground_waits_for_them() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(1)).await;
    cluster.until_n_pods(1).await;
    let api = cluster.client.namespaced::<Deployment>("default");
    api.delete("web", &DeleteParams::orphan()).await.unwrap();
    cluster.until("no Deployment", |all: &Cache<Deployment>| all.is_empty().then_some(())).await;
    let set = cluster
        .until("ReplicaSet without owner", |sets: &Cache<ReplicaSet>| {
            let set = sets.list().first()?.clone();
            set.owner_references().is_empty().then_some(set)
        })
        .await;
    cluster.until_n_pods(1).await;
    // A new Deployment of the same selector takes it in again.
    cluster.create::<Deployment>(deployment(1)).await;
    cluster
        .until("adopted ReplicaSet", |sets: &Cache<ReplicaSet>| {
            (!sets.get(Some("default"), &set.name_any())?.owner_references().is_empty())
                .then_some(())
        })
        .await;
    api.delete("web", &DeleteParams::foreground()).await.unwrap();
    cluster.until("no Deployment", |all: &Cache<Deployment>| all.is_empty().then_some(())).await;
    assert_eq!(cluster.number_of::<ReplicaSet>("default").await, 0);
    assert_eq!(cluster.number_of::<Pod>("default").await, 0);
}

#[tokio::test]
async fn a_node_gets_its_range_and_is_lost_when_it_falls_silent() {
    let config = Config { node_grace: Duration::from_millis(200), ..Config::default() };
    let cluster = Cluster::with(config).await;
    let nodes = cluster.client.cluster::<Node>();
    for name in ["a", "b"] {
        let node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
    }
    cluster
        .create::<Lease>(json!({"metadata": {"name": "a", "namespace": "kube-node-lease"},
            "spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}))
        .await;
    let range = |node: &Node| node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone());
    let ranges = cluster
        .until("ranges", |all: &Cache<Node>| {
            let mut ranges: Vec<String> =
                all.list().iter().filter_map(|node| range(node)).collect();
            ranges.sort();
            (ranges.len() == 2).then_some(ranges)
        })
        .await;
    assert_eq!(ranges, ["10.128.0.0/18", "10.128.64.0/18"]);
    cluster
        .until("unreachable taint", |all: &Cache<Node>| {
            let node = all.get(None, "a")?;
            let taints = node.spec.as_ref()?.taints.clone()?;
            let lost = taints.iter().any(|taint| taint.key == "node.kubernetes.io/unreachable");
            lost.then_some(())
        })
        .await;
}

#[tokio::test]
async fn what_cannot_be_created_is_told_and_neighbours_go_on() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    // Valid as a template, refused as a pod: the account that it names does not exist.
    let mut broken = deployment(1);
    broken["metadata"]["name"] = json!("broken");
    broken["spec"]["selector"]["matchLabels"]["app"] = json!("broken");
    broken["spec"]["template"]["metadata"]["labels"]["app"] = json!("broken");
    broken["spec"]["template"]["spec"]["serviceAccountName"] = json!("nobody");
    cluster.create::<Deployment>(broken).await;
    let set = cluster
        .until("failure", |sets: &Cache<ReplicaSet>| {
            let all = sets.list();
            all.into_iter().find(|set| {
                let status = set.status.clone().unwrap_or_default();
                status.conditions.iter().flatten().any(|c| c.type_ == "ReplicaFailure")
            })
        })
        .await;
    let condition = set.status.clone().unwrap().conditions.unwrap().remove(0);
    assert_eq!(condition.reason.as_deref(), Some("FailedCreate"));
    assert!(condition.message.unwrap().contains("nobody"));
    cluster.create::<Deployment>(deployment(2)).await;
    until_rolled_out(&cluster, 2, 1).await;
    hosts.abort();
}

#[tokio::test]
async fn restarted_controllers_change_nothing_that_is_right() {
    let mut cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<Deployment>(deployment(3)).await;
    until_rolled_out(&cluster, 3, 1).await;
    let names =
        |pods: Vec<Arc<Pod>>| -> Vec<String> { pods.iter().map(|pod| pod.name_any()).collect() };
    let before = names(cluster.until_n_pods(3).await);
    cluster.controllers.take().unwrap().stop().await;
    cluster.caches = Caches::new(cluster.client.clone());
    cluster.controllers = Some(coracle_controllers::run(&cluster.caches, Config::default()));
    // They work again: a second Deployment rolls out, and the first is as it was.
    let new = cluster.patch::<Deployment>("web", json!({"spec": {"minReadySeconds": 1}})).await;
    until_rolled_out(&cluster, 3, new).await;
    assert_eq!(names(cluster.until_n_pods(3).await), before);
    hosts.abort();
}

fn with_surge_only(replicas: i32) -> Value {
    let mut web = deployment(replicas);
    web["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    web
}

/// Counts at every change: pods that are there and stay, and those of them that are ready.
fn count(pods: &Cache<Pod>) -> (usize, usize) {
    let all = pods.list_in("default");
    let staying = all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let is_ready = |pod: &&Arc<Pod>| coracle_controllers::objects::is_ready(pod);
    (staying.clone().count(), staying.filter(is_ready).count())
}

/// Follows the pods until it is dropped; gives the most there were, and the fewest ready.
fn watch_bounds(
    pods: &Cache<Pod>,
) -> (coracle_client::Subscription, Arc<std::sync::Mutex<(usize, usize)>>) {
    let seen = Arc::new(std::sync::Mutex::new(count(pods)));
    let (bounds, follow) = (Arc::clone(&seen), pods.clone());
    let subscription = pods.observe(move |_| {
        let (all, ready) = count(&follow);
        let mut bounds = bounds.lock().unwrap();
        *bounds = (bounds.0.max(all), bounds.1.min(ready));
    });
    (subscription, seen)
}

#[tokio::test]
async fn surge_and_unavailable_hold_at_every_moment() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<Deployment>(with_surge_only(4)).await;
    until_rolled_out(&cluster, 4, 1).await;
    let (_subscription, bounds) = watch_bounds(&cluster.caches.get());
    let new =
        cluster.patch::<Deployment>("web", json!({"spec": {"template": template("v2")}})).await;
    until_rolled_out(&cluster, 4, new).await;
    assert_eq!(*bounds.lock().unwrap(), (5, 4));
    hosts.abort();
}

#[tokio::test]
async fn a_rollout_completes_though_the_controllers_restart_all_the_time() {
    let mut cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<Deployment>(with_surge_only(4)).await;
    until_rolled_out(&cluster, 4, 1).await;
    // Caches of its own, because those of the controllers end with them.
    let watching = Caches::new(cluster.client.clone());
    let pods: Cache<Pod> = watching.get();
    pods.wait_synced().await;
    let (_subscription, bounds) = watch_bounds(&pods);
    let mut changes = pods.subscribe();
    let new =
        cluster.patch::<Deployment>("web", json!({"spec": {"template": template("v2")}})).await;
    for n_changes in [0, 1, 2, 1, 3, 0, 2, 1] {
        for _ in 0..n_changes {
            let next = tokio::time::timeout(Duration::from_secs(1), changes.next());
            let _over = next.await;
        }
        cluster.controllers.take().unwrap().stop().await;
        let caches = Caches::new(cluster.client.clone());
        cluster.controllers = Some(coracle_controllers::run(&caches, Config::default()));
    }
    until_rolled_out(&cluster, 4, new).await;
    let (most, fewest) = *bounds.lock().unwrap();
    assert!(most <= 5 && fewest >= 4, "at most {most} pods, at least {fewest} ready");
    cluster.until_n_pods(4).await;
    hosts.abort();
}

#[path = "cluster/custom.rs"]
mod custom;

#[path = "cluster/nodescaler.rs"]
mod nodescaler;

#[path = "cluster/workloads.rs"]
mod workloads;
