//! What an idle http pod costs in memory: 1,000 of them on one host.

use coracle_e2e::{Cluster, within};
use std::time::Duration;

use crate::process::Processes;

const PODS: u64 = 1_000;

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    cluster.push("hello:1", &super::hello_wasm());
    cluster.apply(&deployment(1));
    wait_for(&cluster, 1);
    let processes = Processes::of(&cluster)?;
    let one = processes.host.resident_bytes()?;
    let start = std::time::Instant::now();
    cluster.apply(&deployment(PODS));
    wait_for(&cluster, PODS);
    let took = start.elapsed();
    let many = processes.host.resident_bytes()?;
    let each = many.saturating_sub(one) / (PODS - 1);
    Ok(vec![format!(
        "{PODS} idle http pods: {:.1} KiB each beyond the first (promised 100), host {} MiB, server {} MiB, all available after {:.1} s",
        each as f64 / 1024.0,
        many >> 20,
        processes.server.resident_bytes()? >> 20,
        took.as_secs_f64(),
    )])
}

fn wait_for(cluster: &Cluster, pods: u64) {
    within(Duration::from_secs(300), "the pods are available", || {
        let deployment = cluster.get(&["deployment", "hello"]);
        let available = deployment["status"]["availableReplicas"].as_u64().unwrap_or(0);
        if available == pods { Ok(()) } else { Err(available) }
    });
}

fn deployment(replicas: u64) -> String {
    let pod = super::hello_pod("hello");
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "hello"}},
            "template": {"metadata": {"labels": {"app": "hello"}}, "spec": pod["spec"]}},
    })
    .to_string()
}
