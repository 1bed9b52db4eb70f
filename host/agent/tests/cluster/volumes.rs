//! Volumes and configuration as a container gets them.

use std::path::PathBuf;

use coracle_agent::runtime::MountSource;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::json;

use super::harness::{Cluster, container, pod};

pub(super) fn place(cluster: &Cluster, pod: &str, path: &str) -> PathBuf {
    let request = cluster.runtime.request(pod, "app").unwrap();
    let mount = request.mounts.into_iter().find(|mount| mount.path == path).unwrap();
    match mount.source {
        MountSource::Host(place) => place,
        MountSource::SubPath { .. } | MountSource::Pinned(_) => panic!("{path} is no whole volume"),
    }
}

#[tokio::test]
async fn files_are_there_secrets_in_memory_and_changes_arrive() {
    let cluster = Cluster::start().await;
    cluster
        .create::<ConfigMap>(json!({"metadata": {"name": "cfg"}, "data": {"a": "1", "b": "2"}}))
        .await;
    cluster
        .create::<Secret>(json!({"metadata": {"name": "key"}, "stringData": {"pw": "hunter2"}}))
        .await;
    let mounts = json!([
        {"name": "cfg", "mountPath": "/cfg"}, {"name": "cfg", "mountPath": "/one", "subPath": "a"},
        {"name": "key", "mountPath": "/key"}, {"name": "info", "mountPath": "/info"},
    ]);
    let volumes = json!([
        {"name": "cfg", "configMap": {"name": "cfg"}},
        {"name": "key", "secret": {"secretName": "key"}},
        {"name": "info", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]);
    let app = container("app", json!({"volumeMounts": mounts}));
    cluster.create::<Pod>(pod("web", json!({"containers": [app], "volumes": volumes}))).await;
    cluster.is_ready("web").await;
    let read = |path: &str, file: &str| {
        std::fs::read_to_string(place(&cluster, "web", path).join(file)).unwrap()
    };
    assert_eq!((read("/cfg", "a"), read("/cfg", "b")), ("1".into(), "2".into()));
    assert_eq!(read("/key", "pw"), "hunter2");
    assert!(place(&cluster, "web", "/key").starts_with(cluster.memory_dir()));
    let request = cluster.runtime.request("web", "app").unwrap();
    let pinned = request.mounts.iter().find(|mount| mount.path == "/one").unwrap();
    assert_eq!(pinned.source, MountSource::Pinned(b"1"[..].into()));

    cluster.patch::<ConfigMap>("cfg", json!({"data": {"a": "3"}})).await;
    cluster.eventually("new content", || read("/cfg", "a") == "3").await;
    cluster.patch::<Pod>("web", json!({"metadata": {"labels": {"x": "y"}}})).await;
    cluster.eventually("new labels", || read("/info", "labels").contains("x=\"y\"")).await;
}

#[tokio::test]
async fn a_missing_config_map_is_waited_for() {
    let cluster = Cluster::start().await;
    let volumes = json!([{"name": "cfg", "configMap": {"name": "cfg"}}]);
    let app = container("app", json!({"volumeMounts": [{"name": "cfg", "mountPath": "/cfg"}]}));
    cluster.create::<Pod>(pod("web", json!({"containers": [app], "volumes": volumes}))).await;
    let said = cluster.event("FailedMount").await;
    assert_eq!(said, "MountVolume.SetUp failed for volume \"cfg\" : configmap \"cfg\" not found");
    cluster
        .shows("web", "/status/containerStatuses/0/state/waiting/reason", "ContainerCreating")
        .await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "cfg"}, "data": {"a": "1"}})).await;
    cluster.is_ready("web").await;
}

#[tokio::test]
async fn a_missing_key_is_named_and_waited_for() {
    let cluster = Cluster::start().await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "cfg"}, "data": {"a": "1"}})).await;
    let env = json!([{"name": "B", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "b"}}}]);
    let app = container("app", json!({"env": env, "args": ["$(B)", "$$(B)"]}));
    cluster.create::<Pod>(pod("web", json!({"containers": [app]}))).await;
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    let shown = cluster.shows("web", reason, "CreateContainerConfigError").await;
    let message = &shown["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
    assert_eq!(message, "couldn't find key b in ConfigMap default/cfg");
    cluster.patch::<ConfigMap>("cfg", json!({"data": {"b": "2"}})).await;
    cluster.is_ready("web").await;
    assert_eq!(cluster.runtime.request("web", "app").unwrap().argv, ["app", "2", "$(B)"]);
}

#[tokio::test]
async fn a_host_path_is_refused() {
    let cluster = Cluster::start().await;
    let volumes = json!([{"name": "h", "hostPath": {"path": "/etc"}}]);
    cluster.create::<Pod>(pod("web", json!({"volumes": volumes}))).await;
    let said = cluster.event("FailedMount").await;
    assert!(said.contains("--allow-host-path /etc"), "{said}");
}
