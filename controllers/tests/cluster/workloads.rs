//! StatefulSets, Jobs and the rest against the real API server.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Endpoints, PersistentVolumeClaim, ReplicationController, ResourceQuota,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::EvictParams;

use super::*;

impl Cluster {
    /// Plays hosts for Jobs: every pod that comes ends at once, with this phase.
    fn end_pods(&self, phase: &'static str) -> tokio::task::JoinHandle<()> {
        let (client, pods) = (self.client.clone(), self.caches.get::<Pod>());
        tokio::spawn(async move {
            let mut changes = pods.subscribe();
            loop {
                let Some(pod) = changes.next().await.new else { continue };
                let now = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                if now.is_some_and(|now| now == phase) {
                    continue;
                }
                let api = client.namespaced::<Pod>("default");
                let patch = Patch::Merge(json!({"status": {"phase": phase}}));
                match api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
                    Err(error) if !error.is_not_found() => panic!("{error}"),
                    Ok(_) | Err(_) => {}
                }
            }
        })
    }
}

fn names(pods: &Cache<Pod>) -> Vec<String> {
    pods.list_in("default").iter().map(|pod| pod.name_any()).collect()
}

fn stateful_set(replicas: i32) -> Value {
    json!({"metadata": {"name": "db"}, "spec": {"replicas": replicas, "serviceName": "db",
        "selector": {"matchLabels": {"app": "web"}}, "template": template("v1"),
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}]}})
}

async fn until_settled(cluster: &Cluster, replicas: i32, generation: i64) -> Arc<StatefulSet> {
    cluster
        .until("settled StatefulSet", |all: &Cache<StatefulSet>| {
            let set = all.get(Some("default"), "db")?;
            let status = set.status.clone().unwrap_or_default();
            let settled = status.observed_generation >= Some(generation)
                && status.available_replicas.unwrap_or(0) == replicas
                && status.updated_replicas.unwrap_or(0) == replicas
                && status.replicas == replicas
                && status.current_revision == status.update_revision;
            settled.then_some(set)
        })
        .await
}

#[tokio::test]
async fn a_stateful_set_keeps_names_volumes_and_revisions() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<StatefulSet>(stateful_set(2)).await;
    until_settled(&cluster, 2, 1).await;
    let pods: Cache<Pod> = cluster.caches.get();
    assert_eq!(names(&pods), ["db-0", "db-1"]);
    let uid = |name: &str| pods.get(Some("default"), name).unwrap().uid();
    let before = uid("db-0");

    let new =
        cluster.patch::<StatefulSet>("db", json!({"spec": {"template": template("v2")}})).await;
    until_settled(&cluster, 2, new).await;
    assert_eq!(names(&pods), ["db-0", "db-1"]);
    assert_ne!(uid("db-0"), before);
    let revisions: Cache<ControllerRevision> = cluster.caches.get();
    let numbers: BTreeSet<i64> = revisions.list().iter().map(|r| r.revision).collect();
    assert_eq!(numbers, BTreeSet::from([1, 2]));

    let new = cluster.patch::<StatefulSet>("db", json!({"spec": {"replicas": 0}})).await;
    until_settled(&cluster, 0, new).await;
    let claims: Cache<PersistentVolumeClaim> = cluster.caches.get();
    let kept: Vec<String> = claims.list().iter().map(|claim| claim.name_any()).collect();
    assert_eq!(kept, ["data-db-0", "data-db-1"]);

    let api = cluster.client.namespaced::<StatefulSet>("default");
    api.delete("db", &DeleteParams::background()).await.unwrap();
    cluster
        .until("no revisions", |all: &Cache<ControllerRevision>| all.is_empty().then_some(()))
        .await;
    assert_eq!(claims.len(), 2, "data outlives its StatefulSet");
    hosts.abort();
}

#[tokio::test]
async fn a_deleted_pod_of_a_stateful_set_comes_back_under_its_name() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<StatefulSet>(stateful_set(2)).await;
    until_settled(&cluster, 2, 1).await;
    let pods: Cache<Pod> = cluster.caches.get();
    let before = pods.get(Some("default"), "db-1").unwrap().uid();
    let api = cluster.client.namespaced::<Pod>("default");
    api.delete("db-1", &DeleteParams::default()).await.unwrap();
    cluster
        .until("another db-1", |pods: &Cache<Pod>| {
            (pods.get(Some("default"), "db-1")?.uid() != before).then_some(())
        })
        .await;
    hosts.abort();
}

fn job(spec: Value) -> Value {
    let mut job = json!({"metadata": {"name": "sum"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "c"}]}}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        job["spec"][field] = value.clone();
    }
    job
}

async fn until_ended(cluster: &Cluster, kind: &str) -> Arc<Job> {
    cluster
        .until(kind, |jobs: &Cache<Job>| {
            let job = jobs.get(Some("default"), "sum")?;
            let status = job.status.clone().unwrap_or_default();
            let mut on = status.conditions.iter().flatten().filter(|c| c.status == "True");
            on.any(|condition| condition.type_ == kind).then_some(job)
        })
        .await
}

#[tokio::test]
async fn a_job_counts_each_success_and_completes() {
    let cluster = Cluster::start().await;
    let hosts = cluster.end_pods("Succeeded");
    cluster.create::<Job>(job(json!({"completions": 6, "parallelism": 2}))).await;
    let done = until_ended(&cluster, "Complete").await;
    let status = done.status.clone().unwrap();
    assert_eq!((status.succeeded, status.failed.unwrap_or(0)), (Some(6), 0));
    assert!(status.completion_time.is_some() && status.start_time.is_some());
    cluster
        .until("six pods without finalizers", |pods: &Cache<Pod>| {
            let all = pods.list_in("default");
            (all.len() == 6 && all.iter().all(|pod| pod.finalizers().is_empty())).then_some(())
        })
        .await;
    let api = cluster.client.namespaced::<Job>("default");
    api.delete("sum", &DeleteParams::background()).await.unwrap();
    cluster.until_n_pods(0).await;
    hosts.abort();
}

#[tokio::test]
async fn an_indexed_job_completes_each_index_and_one_that_fails_says_why() {
    let cluster = Cluster::start().await;
    let hosts = cluster.end_pods("Succeeded");
    let indexed = json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed"});
    cluster.create::<Job>(job(indexed)).await;
    let done = until_ended(&cluster, "Complete").await;
    assert_eq!(done.status.clone().unwrap().completed_indexes.as_deref(), Some("0-3"));
    hosts.abort();
    let cluster = Cluster::start().await;
    let hosts = cluster.end_pods("Failed");
    cluster.create::<Job>(job(json!({"backoffLimit": 0}))).await;
    let failed = until_ended(&cluster, "Failed").await;
    let conditions = failed.status.clone().unwrap().conditions.unwrap();
    assert_eq!(conditions[0].reason.as_deref(), Some("BackoffLimitExceeded"));
    hosts.abort();
}

#[tokio::test]
async fn pods_of_a_job_that_goes_while_they_run_are_let_go() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<Job>(job(json!({"completions": 2, "parallelism": 2}))).await;
    cluster.until_n_pods(2).await;
    let api = cluster.client.namespaced::<Job>("default");
    api.delete("sum", &DeleteParams::background()).await.unwrap();
    cluster.until_n_pods(0).await;
    hosts.abort();
}

#[tokio::test]
async fn a_replication_controller_keeps_its_number() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster
        .create::<ReplicationController>(json!({"metadata": {"name": "old"},
            "spec": {"replicas": 3, "selector": {"app": "web"}, "template": template("v1")}}))
        .await;
    let pods = cluster.until_n_pods(3).await;
    let api = cluster.client.namespaced::<Pod>("default");
    api.delete(&pods[0].name_any(), &DeleteParams::default()).await.unwrap();
    cluster
        .until("three again", |all: &Cache<Pod>| {
            let gone = all.get(Some("default"), &pods[0].name_any()).is_none();
            (gone && all.len() == 3).then_some(())
        })
        .await;
    cluster
        .until("status", |all: &Cache<ReplicationController>| {
            let status = all.get(Some("default"), "old")?.status.clone()?;
            (status.ready_replicas == Some(3)).then_some(())
        })
        .await;
    hosts.abort();
}

async fn node(cluster: &Cluster, name: &str) {
    let node = json!({"metadata": {"name": name}});
    let api = cluster.client.cluster::<Node>();
    let node = serde_json::from_value(node).unwrap();
    api.create(&PostParams::default(), &node).await.unwrap();
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
}

#[tokio::test]
async fn a_daemon_set_follows_the_nodes_and_rolls() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    node(&cluster, "a").await;
    cluster
        .create::<DaemonSet>(json!({"metadata": {"name": "log"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": template("v1")}}))
        .await;
    cluster.until_n_pods(1).await;
    node(&cluster, "b").await;
    let before = cluster.until_n_pods(2).await;
    let new =
        cluster.patch::<DaemonSet>("log", json!({"spec": {"template": template("v2")}})).await;
    cluster
        .until("rolled-out DaemonSet", |all: &Cache<DaemonSet>| {
            let status = all.get(Some("default"), "log")?.status.clone()?;
            let done = status.observed_generation == Some(new)
                && status.updated_number_scheduled == Some(2)
                && status.number_available == Some(2);
            done.then_some(())
        })
        .await;
    let after = names(&cluster.caches.get());
    assert!(before.iter().all(|pod| !after.contains(&pod.name_any())));
    cluster.client.cluster::<Node>().delete("b", &DeleteParams::default()).await.unwrap();
    cluster
        .until("one node's pods", |all: &Cache<DaemonSet>| {
            let status = all.get(Some("default"), "log")?.status.clone()?;
            (status.desired_number_scheduled == 1).then_some(())
        })
        .await;
    hosts.abort();
}

#[tokio::test]
async fn a_cron_job_makes_a_job_when_it_is_due_and_notes_its_success() {
    let cluster = Cluster::start().await;
    let hosts = cluster.end_pods("Succeeded");
    let template = job(Value::Null)["spec"].clone();
    cluster
        .create::<CronJob>(json!({"metadata": {"name": "tick"}, "spec": {
            "schedule": "@every 1s", "jobTemplate": {"spec": template}}}))
        .await;
    cluster
        .until("a success", |all: &Cache<CronJob>| {
            let status = all.get(Some("default"), "tick")?.status.clone()?;
            (status.last_successful_time.is_some() && status.last_schedule_time.is_some())
                .then_some(())
        })
        .await;
    let made = cluster.caches.get::<Job>().list();
    assert!(made.iter().all(|job| job.name_any().starts_with("tick-")));
    hosts.abort();
}

#[tokio::test]
async fn a_budget_is_counted_and_grants_evictions_one_by_one() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster
        .create::<PodDisruptionBudget>(json!({"metadata": {"name": "web"}, "spec": {
            "maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}}))
        .await;
    cluster.create::<Deployment>(deployment(2)).await;
    let allowed = |wanted: i32| {
        move |all: &Cache<PodDisruptionBudget>| {
            let status = all.get(Some("default"), "web")?.status.clone()?;
            let counted = status.expected_pods == 2 && status.current_healthy == 2;
            (counted && status.disruptions_allowed == wanted).then_some(())
        }
    };
    cluster.until("one disruption allowed", allowed(1)).await;
    let pods = cluster.until_n_pods(2).await;
    let evict = async |pod: &Pod| {
        let api = cluster.client.namespaced::<Pod>("default");
        api.evict(&pod.name_any(), &EvictParams::default()).await
    };
    evict(&pods[0]).await.unwrap();
    cluster
        .until("another pod", |all: &Cache<Pod>| {
            (all.get(Some("default"), &pods[0].name_any()).is_none() && all.len() == 2)
                .then_some(())
        })
        .await;
    cluster.until("one allowed again", allowed(1)).await;
    cluster.patch::<PodDisruptionBudget>("web", json!({"spec": {"maxUnavailable": 0}})).await;
    cluster.until("none allowed", allowed(0)).await;
    let refused = evict(&pods[1]).await.unwrap_err();
    assert!(refused.to_string().contains("disruption budget"), "{refused}");
    hosts.abort();
}

#[tokio::test]
async fn a_quota_gives_back_what_goes() {
    let cluster = Cluster::start().await;
    let quota = json!({"metadata": {"name": "few"}, "spec": {"hard": {"count/jobs.batch": "1",
        "pods": "2"}}});
    cluster.create::<ResourceQuota>(quota).await;
    let used = |wanted: &'static str| {
        move |all: &Cache<ResourceQuota>| {
            let used = all.get(Some("default"), "few")?.status.clone()?.used?;
            (used.get("pods")?.0 == wanted).then_some(())
        }
    };
    cluster.until("nothing used", used("0")).await;
    cluster.create::<Deployment>(deployment(5)).await;
    cluster.until("all used", used("2")).await;
    let pods = cluster.until_n_pods(2).await;
    assert_eq!(pods.len(), 2);
    let api = cluster.client.namespaced::<Deployment>("default");
    api.delete("web", &DeleteParams::background()).await.unwrap();
    cluster.until("nothing used again", used("0")).await;
}

#[tokio::test]
async fn endpoints_and_slices_tell_the_same() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster
        .create::<Service>(json!({"metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}))
        .await;
    cluster.create::<Deployment>(deployment(2)).await;
    cluster
        .until("two addresses", |all: &Cache<Endpoints>| {
            let subsets = all.get(Some("default"), "web")?.subsets.clone()?;
            (subsets.first()?.addresses.as_ref()?.len() == 2).then_some(())
        })
        .await;
    cluster
        .create::<Service>(json!({"metadata": {"name": "out"}, "spec": {"ports": [{"port": 80}]}}))
        .await;
    cluster
        .create::<Endpoints>(json!({"metadata": {"name": "out"}, "subsets": [
            {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 8080}]}]}))
        .await;
    cluster
        .until("mirrored slice", |all: &Cache<EndpointSlice>| {
            let all = all.list_in("default");
            let mirrored = all.iter().find(|slice| slice.name_any().starts_with("out-"))?;
            (mirrored.endpoints[0].addresses == ["192.0.2.1"]).then_some(())
        })
        .await;
    let api = cluster.client.namespaced::<Endpoints>("default");
    api.delete("out", &DeleteParams::default()).await.unwrap();
    cluster
        .until("no mirrored slice", |all: &Cache<EndpointSlice>| {
            let left = all.list_in("default");
            (!left.iter().any(|slice| slice.name_any().starts_with("out-"))).then_some(())
        })
        .await;
    hosts.abort();
}

#[tokio::test]
async fn an_autoscaler_brings_its_target_within_bounds_and_says_what_it_lacks() {
    let cluster = Cluster::start().await;
    let hosts = cluster.run_pods();
    cluster.create::<Deployment>(deployment(1)).await;
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 50}}});
    cluster
        .create::<HorizontalPodAutoscaler>(json!({"metadata": {"name": "web"}, "spec": {
            "minReplicas": 2, "maxReplicas": 3, "metrics": [cpu],
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}))
        .await;
    cluster.until_n_pods(2).await;
    cluster
        .until("status", |all: &Cache<HorizontalPodAutoscaler>| {
            let status = all.get(Some("default"), "web")?.status.clone()?;
            (status.desired_replicas == 2 && status.last_scale_time.is_some()).then_some(())
        })
        .await;
    // Nobody measures here: the next look says so and changes nothing.
    cluster.patch::<HorizontalPodAutoscaler>("web", json!({"spec": {"maxReplicas": 4}})).await;
    cluster
        .until("reason", |all: &Cache<HorizontalPodAutoscaler>| {
            let status = all.get(Some("default"), "web")?.status.clone()?;
            let conditions = status.conditions.unwrap_or_default();
            let mut reasons = conditions.iter().filter_map(|c| c.reason.as_deref());
            reasons.any(|reason| reason == "FailedGetResourceMetric").then_some(())
        })
        .await;
    cluster.until_n_pods(2).await;
    hosts.abort();
}

#[tokio::test]
async fn the_built_in_class_of_volumes_comes_back() {
    let cluster = Cluster::start().await;
    let class = |all: &Cache<StorageClass>| all.get(None, "coracle-local")?.uid();
    let first = cluster.until("class", class).await;
    let api = cluster.client.cluster::<StorageClass>();
    api.delete("coracle-local", &DeleteParams::default()).await.unwrap();
    let another = |all: &Cache<StorageClass>| class(all).filter(|uid| *uid != first);
    cluster.until("class that was made again", another).await;
}
