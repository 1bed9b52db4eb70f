//! The machine goes down: pods end in order and for good, and the API knows why.

use std::time::Duration;

use coracle_agent::pods::shutdown::ShutdownGrace;
use coracle_client::Cache;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;

use super::harness::{Cluster, pod};

#[tokio::test]
async fn pods_end_by_priority_and_the_node_says_so() {
    let mut cluster = Cluster::start_with(|config| {
        let second = Duration::from_secs(1);
        config.shutdown = ShutdownGrace { total: 20 * second, critical: 5 * second };
    })
    .await;
    let system = json!({"priorityClassName": "system-node-critical"});
    cluster.create::<Pod>(pod("web", json!({}))).await;
    cluster.create::<Pod>(pod("dns", system)).await;
    cluster.is_ready("web").await;
    cluster.is_ready("dns").await;
    cluster.runtime.calls();
    cluster.shut_down.cancel();
    let ready = cluster
        .until("node that is not ready", |nodes: &Cache<Node>| {
            let node = nodes.get(None, "h1")?;
            let conditions = node.status.as_ref()?.conditions.clone()?;
            conditions.into_iter().find(|c| c.type_ == "Ready" && c.status == "False")
        })
        .await;
    assert_eq!(ready.message.as_deref(), Some("node is shutting down"));
    for name in ["web", "dns"] {
        let shown = cluster.shows(name, "/status/phase", "Failed").await;
        assert_eq!(shown["status"]["reason"], "Terminated");
        let said = "Pod was terminated in response to imminent node shutdown.";
        assert_eq!(shown["status"]["message"], said);
        let conditions = shown["status"]["conditions"].as_array().unwrap();
        let target = conditions.iter().find(|c| c["type"] == "DisruptionTarget").unwrap();
        assert_eq!(target["reason"], "TerminationByKubelet");
    }
    cluster.agent_ended().await;
    let stops: Vec<String> =
        cluster.runtime.calls().into_iter().filter(|call| call.starts_with("stop")).collect();
    assert_eq!(stops, ["stop web/app", "stop dns/app"]);

    // After the boot they stay as they are: whoever owns them has made others.
    cluster.shut_down = tokio_util::sync::CancellationToken::new();
    cluster.start_agent();
    cluster.create::<Pod>(pod("next", json!({}))).await;
    cluster.is_ready("next").await;
    let starts: Vec<String> =
        cluster.runtime.calls().into_iter().filter(|call| call.starts_with("start")).collect();
    assert_eq!(starts, ["start next/app"]);
}

#[tokio::test]
async fn a_host_that_is_only_stopped_keeps_its_pods() {
    let mut cluster = Cluster::start().await;
    cluster.create::<Pod>(pod("web", json!({}))).await;
    cluster.is_ready("web").await;
    cluster.stop_agent().await;
    cluster.start_agent();
    let shown = cluster.shows("web", "/status/containerStatuses/0/restartCount", 1).await;
    assert_eq!(shown["status"]["phase"], "Running");
}
