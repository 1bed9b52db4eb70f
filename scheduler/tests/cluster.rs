//! The scheduler against the real API server, in one process and over the memory store.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use std::sync::Arc;
use std::time::Duration;

use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::{ApiServer, Config as ServerConfig};
use coracle_client::cache::Object;
use coracle_client::{Cache, Caches, Client};
use coracle_scheduler::{Config, Running};
use coracle_store::Store;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Node, Pod, PodCondition, ServiceAccount};
use kube::Resource;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// Long enough for a loaded machine; nothing here waits for time to pass.
const PATIENCE: Duration = Duration::from_secs(120);

struct Cluster {
    client: Client,
    caches: Caches,
    scheduler: Running,
    _data: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Cluster {
        let data = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:6443".parse().unwrap();
        let server = ServerConfig::new(address, data.path().to_owned());
        let server = ApiServer::new(server, Store::memory()).await.unwrap();
        let as_part = |name| Client::in_process(server.in_process(UserInfo::component(name)));
        let caches = Caches::lean(as_part("kube-scheduler"));
        let scheduler = coracle_scheduler::run(&caches, Config::default());
        let client = as_part("tester");
        let account = ServiceAccount {
            metadata: ObjectMeta { name: Some("default".to_owned()), ..ObjectMeta::default() },
            ..ServiceAccount::default()
        };
        let accounts = client.namespaced::<ServiceAccount>("default");
        accounts.create(&PostParams::default(), &account).await.unwrap();
        Cluster { client, caches, scheduler, _data: data }
    }

    /// Makes a node of 4 cores that takes pods.
    async fn node(&self, name: &str) {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
        }))
        .unwrap();
        let api = self.client.cluster::<Node>();
        api.create(&PostParams::default(), &node).await.unwrap();
        self.patch_node(name, json!({"spec": {"taints": null}})).await;
    }

    async fn patch_node(&self, name: &str, patch: Value) {
        let api = self.client.cluster::<Node>();
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Makes a pod that requests so much CPU; `spec` adds fields.
    async fn pod(&self, name: &str, cpu: &str, spec: Value) {
        let mut object = json!({
            "metadata": {"name": name},
            "spec": {"containers": [
                {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]},
        });
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        let pod: Pod = serde_json::from_value(object).unwrap();
        let api = self.client.namespaced::<Pod>("default");
        api.create(&PostParams::default(), &pod).await.unwrap();
    }

    /// Waits until what a cache holds fulfils a condition, and gives what that is.
    async fn until<K, T>(&self, what: &str, find: impl Fn(&Cache<K>) -> Option<T>) -> T
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
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

    async fn until_on(&self, name: &str, node: &str) {
        self.until(&format!("{name} on {node}"), |pods: &Cache<Pod>| {
            let pod = pods.get(Some("default"), name)?;
            (pod.spec.as_ref()?.node_name.as_deref() == Some(node)).then_some(())
        })
        .await;
    }

    /// Waits for an event whose message begins with `begin`.
    async fn until_event(&self, pod: &str, reason: &str, begin: &str) -> Arc<Event> {
        self.until(&format!("event {reason} of {pod}: {begin}"), |events: &Cache<Event>| {
            events.list().into_iter().find(|event| {
                event.reason.as_deref() == Some(reason)
                    && event.involved_object.name.as_deref() == Some(pod)
                    && event.message.as_deref().unwrap_or_default().starts_with(begin)
            })
        })
        .await
    }

    /// Waits until a pod is refused with a message that begins with `begin`: before the scheduler knows all that is
    /// there, it may say something else.
    async fn until_refused(&self, name: &str, begin: &str) -> PodCondition {
        self.until(&format!("refusal of {name}: {begin}"), |pods: &Cache<Pod>| {
            let pod = pods.get(Some("default"), name)?;
            let conditions = pod.status.as_ref()?.conditions.clone()?;
            conditions.into_iter().find(|it| {
                it.type_ == "PodScheduled"
                    && it.status == "False"
                    && it.message.as_deref().unwrap_or_default().starts_with(begin)
            })
        })
        .await
    }
}

#[tokio::test]
async fn a_pod_is_assigned_and_says_so() {
    let cluster = Cluster::start().await;
    cluster.node("n").await;
    cluster.pod("p", "1", json!({})).await;
    cluster.until_on("p", "n").await;
    let event = cluster.until_event("p", "Scheduled", "").await;
    assert_eq!(event.message.as_deref(), Some("Successfully assigned default/p to n"));
    let source = event.source.as_ref().and_then(|source| source.component.as_deref());
    assert_eq!(source, Some("default-scheduler"));
    cluster.scheduler.stop().await;
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why_and_is_taken_when_a_label_comes() {
    let cluster = Cluster::start().await;
    cluster.node("n").await;
    cluster.pod("p", "1", json!({"nodeSelector": {"env": "test"}})).await;
    let words = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. \
                 preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    let condition = cluster.until_refused("p", words).await;
    assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    assert_eq!(condition.message.as_deref(), Some(words));
    let event = cluster.until_event("p", "FailedScheduling", words).await;
    assert_eq!((event.type_.as_deref(), event.message.as_deref()), (Some("Warning"), Some(words)));
    cluster.patch_node("n", json!({"metadata": {"labels": {"env": "test"}}})).await;
    cluster.until_on("p", "n").await;
    cluster.scheduler.stop().await;
}

#[tokio::test]
async fn requests_are_honoured_and_room_is_used_when_it_comes() {
    let cluster = Cluster::start().await;
    cluster.node("n").await;
    cluster.pod("a", "4", json!({})).await;
    cluster.until_on("a", "n").await;
    cluster.pod("b", "1", json!({})).await;
    cluster.until_refused("b", "0/1 nodes are available: 1 Insufficient cpu.").await;
    let api = cluster.client.namespaced::<Pod>("default");
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    let _ = api.delete("a", &now).await.unwrap();
    cluster.until_on("b", "n").await;
    cluster.scheduler.stop().await;
}

#[tokio::test]
async fn foreign_schedulers_keep_their_pods() {
    let cluster = Cluster::start().await;
    cluster.node("n").await;
    cluster.pod("theirs", "1", json!({"schedulerName": "mine"})).await;
    cluster.pod("ours", "1", json!({})).await;
    cluster.until_on("ours", "n").await;
    let api = cluster.client.namespaced::<Pod>("default");
    let theirs = api.get("theirs").await.unwrap();
    assert_eq!(theirs.spec.and_then(|spec| spec.node_name), None);
    cluster.scheduler.stop().await;
}

#[tokio::test]
async fn many_pods_fill_the_nodes_and_no_node_is_overfull() {
    let cluster = Cluster::start().await;
    for name in ["n1", "n2", "n3"] {
        cluster.node(name).await;
    }
    for index in 0..30 {
        cluster.pod(&format!("p{index}"), "500m", json!({})).await;
    }
    let placed = cluster
        .until("24 pods on nodes and 6 refused", |pods: &Cache<Pod>| {
            let all = pods.list_in("default");
            let node = |pod: &Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            let nodes: Vec<String> = all.iter().filter_map(node).collect();
            let refused = |pod: &&Arc<Pod>| {
                pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none())
                    && pod.status.as_ref().is_some_and(|status| status.conditions.is_some())
            };
            (nodes.len() == 24 && all.iter().filter(refused).count() == 6).then_some(nodes)
        })
        .await;
    for name in ["n1", "n2", "n3"] {
        assert_eq!(placed.iter().filter(|node| *node == name).count(), 8, "{name}");
    }
    cluster.scheduler.stop().await;
}

#[tokio::test]
async fn an_important_pod_displaces_a_lower_one_and_says_so() {
    let cluster = Cluster::start().await;
    cluster.node("n").await;
    cluster.pod("low", "4", json!({"terminationGracePeriodSeconds": 0})).await;
    cluster.until_on("low", "n").await;
    cluster.pod("high", "1", json!({"priorityClassName": "system-cluster-critical"})).await;
    cluster.until_on("high", "n").await;
    let event = cluster.until_event("low", "Preempted", "").await;
    let message = event.message.clone().unwrap_or_default();
    assert!(
        message.starts_with("Preempted by pod ") && message.ends_with(" on node n"),
        "{message}"
    );
    let api = cluster.client.namespaced::<Pod>("default");
    assert!(api.get_opt("low").await.unwrap().is_none());
    cluster.scheduler.stop().await;
}
