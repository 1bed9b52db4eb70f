//! What it costs to probe 1,000 pods each second.

use std::time::Duration;

use coracle_e2e::{Cluster, within};
use serde_json::json;

use crate::process::Processes;

const PODS: u64 = 1_000;

/// How long the host is watched.
const WATCHED: Duration = Duration::from_secs(20);

/// How long the pods may take until all are there.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    cluster.push("hello:1", &super::hello_wasm());
    let mut pod = super::hello_pod("probed");
    let probe = json!({"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1});
    if let Some(container) = pod.pointer_mut("/spec/containers/0") {
        container["readinessProbe"] = probe;
    }
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probed"},
        "spec": {"replicas": PODS, "selector": {"matchLabels": {"app": "probed"}},
            "template": {"metadata": {"labels": {"app": "probed"}}, "spec": pod["spec"]}},
    });
    cluster.apply(&deployment.to_string());
    within(PATIENCE, "the pods are available", || {
        let shown = cluster.get(&["deployment", "probed"]);
        let available = shown["status"]["availableReplicas"].as_u64().unwrap_or(0);
        if available == PODS { Ok(()) } else { Err(available) }
    });
    let host = Processes::of(&cluster)?.host;
    let before = host.cpu()?;
    tokio::time::sleep(WATCHED).await;
    let share = (host.cpu()? - before).as_secs_f64() / WATCHED.as_secs_f64();
    Ok(vec![format!(
        "{PODS} pods, each probed by httpGet each second: {share:.2} cores of the host (promised less than 1)"
    )])
}
