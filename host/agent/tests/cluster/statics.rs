//! Static pods: run from files, shown by mirrors, with or without a server.

use std::sync::atomic::Ordering;

use coracle_agent::AgentConfig;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::harness::{Cluster, IMAGE, container};

/// The manifest folder of a test lies in the agent's own folder, which each test has for itself.
fn in_data_dir(config: &mut AgentConfig) {
    config.pod_manifest_path = Some(config.data_dir.join("manifests"));
}

fn write(cluster: &Cluster, file: &str, name: &str, more: Value) {
    let folder = cluster.agent_dir().join("manifests");
    std::fs::create_dir_all(&folder).unwrap();
    let spec = json!({"containers": [container("app", more)]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
    // Written beside and moved, as an editor does.
    std::fs::write(folder.join(".new"), pod.to_string()).unwrap();
    std::fs::rename(folder.join(".new"), folder.join(file)).unwrap();
}

#[tokio::test]
async fn a_file_runs_as_a_pod_and_a_mirror_shows_it() {
    let cluster = Cluster::start_with(in_data_dir).await;
    write(&cluster, "web.yaml", "web", json!({"args": ["1"]}));
    let shown = cluster.is_ready("web-h1").await;
    let note = |name: &str| shown["metadata"]["annotations"][name].clone();
    let hash = note("kubernetes.io/config.hash");
    assert_eq!(note("kubernetes.io/config.source"), "file");
    assert_eq!(note("kubernetes.io/config.mirror"), hash);
    assert_ne!(shown["metadata"]["uid"], hash);
    assert_eq!(shown["metadata"]["ownerReferences"][0]["kind"], "Node");
    assert_eq!(shown["status"]["phase"], "Running");

    // Who deletes the mirror deletes nothing else.
    cluster.delete("web-h1", None).await;
    let uid = shown["metadata"]["uid"].clone();
    let again = cluster.until("another mirror", |pods| remade(pods, "web-h1", &uid)).await;
    assert_eq!(again["metadata"]["annotations"]["kubernetes.io/config.hash"], hash);
    let again = cluster.is_ready("web-h1").await;
    assert_eq!(again["status"]["containerStatuses"][0]["restartCount"], 0);
    assert_eq!(again["status"]["podIP"], shown["status"]["podIP"]);

    // Another content is another pod; none of its name runs before the old one has ended.
    cluster.runtime.calls();
    write(&cluster, "web.yaml", "web", json!({"args": ["2"]}));
    cluster.heard("start web-h1/app").await;
    let args = json!(["2"]);
    cluster.shows("web-h1", "/spec/containers/0/args", args).await;
    cluster.is_ready("web-h1").await;

    // The file goes, and so does all of it.
    std::fs::remove_file(cluster.agent_dir().join("manifests/web.yaml")).unwrap();
    cluster.heard("remove sandbox web-h1").await;
    cluster.is_gone("web-h1").await;
}

fn remade(pods: &coracle_client::Cache<Pod>, name: &str, before: &Value) -> Option<Value> {
    let pod = serde_json::to_value(&*pods.get(Some("default"), name)?).unwrap();
    (pod["metadata"]["uid"] != *before).then_some(pod)
}

#[tokio::test]
async fn a_static_pod_needs_no_server() {
    let mut cluster = Cluster::start_with(in_data_dir).await;
    write(&cluster, "web.yaml", "web", json!({}));
    let before = cluster.is_ready("web-h1").await;
    let hash = before["metadata"]["annotations"]["kubernetes.io/config.hash"].as_str().unwrap();
    cluster.saved(hash).await;
    cluster.kill_agent().await;
    cluster.gate.shut.store(true, Ordering::SeqCst);
    cluster.start_agent();
    cluster.heard("start web-h1/app").await;
    write(&cluster, "late.yaml", "late", json!({}));
    cluster.heard("start late-h1/app").await;
    cluster.gate.shut.store(false, Ordering::SeqCst);
    cluster.is_ready("late-h1").await;
    let shown = cluster.shows("web-h1", "/status/containerStatuses/0/restartCount", 1).await;
    assert_eq!(shown["status"]["podIP"], before["status"]["podIP"]);
    assert_eq!(shown["metadata"]["uid"], before["metadata"]["uid"]);
}

#[tokio::test]
async fn what_needs_the_api_is_refused_and_said_on_the_node() {
    let cluster = Cluster::start_with(in_data_dir).await;
    write(&cluster, "bad.yaml", "bad", json!({"envFrom": [{"configMapRef": {"name": "cfg"}}]}));
    let said = cluster.event("InvalidStaticPod").await;
    assert!(said.contains("bad.yaml: static pods may not refer to configmap \"cfg\""), "{said}");
    write(&cluster, "good.yaml", "good", json!({"image": IMAGE}));
    cluster.is_ready("good-h1").await;
    let none = cluster.admin.namespaced::<Pod>("default").get_opt("bad-h1").await.unwrap();
    assert!(none.is_none());
}
