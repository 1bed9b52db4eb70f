//! How much faster than real time a simulated cluster lives.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use coracle_e2e::coracle;
use serde_json::json;

/// What `coracle simulate` plays at least: it is watched for ten minutes what becomes of it when a host dies.
const PLAYED: Duration = Duration::from_secs(600);

pub(crate) fn measure() -> anyhow::Result<Vec<String>> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let deployment = |number: usize| {
        let labels = json!({"app": format!("web-{number}")});
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("web-{number}")},
            "spec": {"replicas": 10, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "web:1"}]}}}})
    };
    let items: Vec<_> = (0..100).map(deployment).collect();
    let file = folder.path().join("all.json");
    std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    let start = Instant::now();
    let mut command = Command::new(coracle());
    command.arg("simulate").arg("-f").arg(&file).args([
        "--nodes",
        "100",
        "--kill-node",
        "1",
        "--seed",
        "7",
    ]);
    let output = command.output().context("run coracle simulate")?;
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(output.status.success() && said.contains("1000 pods are ready"), "{output:?}");
    Ok(vec![format!(
        "simulation of 100 nodes and 1,000 pods: {:.0} times as fast as real time (promised 1,000), {:.1} s",
        PLAYED.as_secs_f64() / took.as_secs_f64(),
        took.as_secs_f64(),
    )])
}
