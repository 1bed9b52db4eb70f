//! StatefulSets, Jobs and the rest against the real API server.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ReplicationController};

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
    let pods = cluster.until_n_pods(6).await;
    assert!(pods.iter().all(|pod| pod.finalizers().is_empty()));
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
