//! Pods that take more than is theirs, and a node that runs short.

use std::time::Duration;

use coracle_agent::AgentConfig;
use coracle_client::Cache;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::harness::{Cluster, IMAGE, container, pod};
use super::volumes::place;

fn look_often(config: &mut AgentConfig) {
    config.eviction.interval = Duration::from_millis(20);
}

fn reason_of(pod: &Value, kind: &str) -> Value {
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|c| c["type"] == kind).map_or(Value::Null, |c| c["reason"].clone())
}

#[tokio::test]
async fn a_pod_over_the_limit_of_its_volume_is_evicted() {
    let cluster = Cluster::start_with(look_often).await;
    let app = container("app", json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]}));
    let volumes = json!([{"name": "d", "emptyDir": {"sizeLimit": "1Mi"}}]);
    cluster.create::<Pod>(pod("web", json!({"containers": [app], "volumes": volumes}))).await;
    cluster.is_ready("web").await;
    let folder = place(&cluster, "web", "/d");
    std::fs::write(folder.join("whole"), vec![0; 1 << 20]).unwrap();
    cluster.create::<Pod>(pod("other", json!({}))).await;
    cluster.is_ready("other").await;
    std::fs::write(folder.join("more"), "1").unwrap();
    let shown = cluster.shows("web", "/status/phase", "Failed").await;
    assert_eq!(shown["status"]["reason"], "Evicted");
    let words = "Usage of EmptyDir volume \"d\" exceeds the limit \"1Mi\". ";
    assert_eq!(shown["status"]["message"], words);
    assert_eq!(reason_of(&shown, "DisruptionTarget"), "TerminationByKubelet");
    assert_eq!(cluster.event("Evicted").await, words);
    cluster.eventually("room again", || !folder.exists()).await;
    let other = cluster.is_ready("other").await;
    assert_eq!(reason_of(&other, "DisruptionTarget"), Value::Null);
}

#[tokio::test]
async fn a_container_over_its_ephemeral_storage_is_evicted() {
    let cluster = Cluster::start_with(look_often).await;
    let limits = json!({"limits": {"ephemeral-storage": "64Ki"}});
    let containers =
        json!([container("app", json!({"resources": limits})), container("other", json!({}))]);
    cluster.create::<Pod>(pod("web", json!({"containers": containers}))).await;
    cluster.is_ready("web").await;
    let layer = cluster.runtime.request("web", "app").unwrap().scratch.join("root-1/files");
    std::fs::create_dir_all(&layer).unwrap();
    std::fs::write(layer.join("big"), vec![0; 65 << 10]).unwrap();
    let shown = cluster.shows("web", "/status/phase", "Failed").await;
    let words = "Container app exceeded its local ephemeral storage limit \"64Ki\". ";
    assert_eq!(shown["status"]["message"], words);
}

#[tokio::test]
async fn a_node_short_of_memory_says_so_and_ends_pods() {
    let cluster = Cluster::start_with(|config| {
        look_often(config);
        // No machine has that much: the figures are real, the threshold is not.
        config.eviction.thresholds = "memory.available<1000Ti".parse().unwrap();
    })
    .await;
    cluster
        .until("pressure", |nodes: &Cache<Node>| {
            let node = nodes.get(None, "h1")?;
            let conditions = node.status.as_ref()?.conditions.as_ref()?;
            let pressed = conditions.iter().find(|c| c.type_ == "MemoryPressure")?;
            (pressed.status == "True").then_some(())
        })
        .await;
    let said = cluster.event("NodeHasInsufficientMemory").await;
    assert_eq!(said, "Node h1 status is now: NodeHasInsufficientMemory");
    cluster.create::<Pod>(pod("best-effort", json!({}))).await;
    let shown = cluster.shows("best-effort", "/status/reason", "Evicted").await;
    let words = "Pod was rejected: The node had condition: [MemoryPressure]. ";
    assert_eq!(shown["status"]["message"], words);
}

/// Row `qos.kill-order`.
#[tokio::test]
async fn the_best_effort_pod_goes_first_and_the_guaranteed_one_last() {
    let mut cluster = Cluster::start_with(look_often).await;
    let needs = |more: Value| json!({"containers": [container("app", json!({"resources": more}))]});
    let amount = json!({"cpu": "10m", "memory": "64Mi"});
    let rows = [
        ("guaranteed", json!({"requests": amount, "limits": amount}), "Guaranteed"),
        ("burstable", json!({"requests": {"memory": "16Mi"}}), "Burstable"),
        ("best-effort", json!({}), "BestEffort"),
    ];
    for (name, resources, class) in rows {
        cluster.create::<Pod>(pod(name, needs(resources))).await;
        let shown = cluster.is_ready(name).await;
        assert_eq!(shown["status"]["qosClass"], class);
        cluster.saved(shown["metadata"]["uid"].as_str().unwrap()).await;
    }
    // The machine runs short: no machine has that much.
    cluster.kill_agent().await;
    cluster.retune(|config| {
        look_often(config);
        config.eviction.thresholds = "memory.available<1000Ti".parse().unwrap();
    });
    cluster.start_agent();
    for name in ["best-effort", "burstable", "guaranteed"] {
        let shown = cluster.shows(name, "/status/reason", "Evicted").await;
        let said = shown["status"]["message"].as_str().unwrap();
        assert!(said.starts_with("The node was low on resource: memory."), "{said}");
    }
    let events = cluster.evictions(3).await;
    assert_eq!(events, ["best-effort", "burstable", "guaranteed"]);
}

/// Any disk counts as too full, and nothing as too fresh to go.
fn full_disk(config: &mut AgentConfig) {
    look_often(config);
    (config.images.gc_high_percent, config.images.gc_low_percent) = (0, 0);
    config.images.min_age = jiff::SignedDuration::ZERO;
}

/// Row `cri.image-service`.
#[tokio::test]
async fn a_disk_over_its_high_mark_costs_only_images_that_nobody_uses() {
    let mut cluster = Cluster::start_with(look_often).await;
    let used = cluster.keep_image(IMAGE, '1');
    let unused = cluster.keep_image("registry.coracle.internal/old:1", '2');
    let created: Pod = cluster.create(pod("web", json!({}))).await;
    cluster.is_ready("web").await;
    assert!(used.exists() && unused.exists(), "below the mark all stay");
    cluster.saved(&created.metadata.uid.unwrap()).await;
    cluster.stop_agent().await;
    cluster.retune(full_disk);
    cluster.runtime.calls();
    cluster.start_agent();
    cluster.eventually("room where the old image was", || !unused.exists()).await;
    cluster.heard("start web/app").await;
    assert!(used.exists(), "what the pod runs stays");
}
