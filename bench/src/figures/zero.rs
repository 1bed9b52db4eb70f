//! Scale from zero: the first byte of a request for which there is no pod, with the image prepared.

use std::time::{Duration, Instant};

use coracle_e2e::{Cluster, eventually, get, within};
use serde_json::json;

use crate::sample::Samples;

/// Times that it wakes up; the first, which prepares the image, is not counted.
const ROUNDS: usize = 40;

/// How long a pod may take to go.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    cluster.push("hello:1", &super::hello_wasm());
    let port = cluster.node_port(0);
    let pod = super::hello_pod("hello");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "hello"}},
            "template": {"metadata": pod["metadata"], "spec": pod["spec"]}}});
    let mut service = super::hello::service(port);
    service["metadata"]["annotations"] = json!({"coracle.dev/scale-to-zero-after": "2s"});
    cluster.apply(&deployment.to_string());
    cluster.apply(&service.to_string());
    eventually("hello answers", || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        within(PATIENCE, "the pod has gone", || {
            let pods = cluster.get(&["pods", "-l", "app=hello"]);
            let left = pods["items"].as_array().map_or(0, Vec::len);
            if left == 0 { Ok(()) } else { Err(left) }
        });
        let start = Instant::now();
        let answer =
            get(port, "/").map_err(|error| anyhow::anyhow!("the first request: {error}"))?;
        samples.push(start.elapsed());
        anyhow::ensure!(answer.status == 200, "the first answer is {}", answer.status);
    }
    Ok(vec![format!(
        "scale from zero, first byte: p50 {:.1} ms (promised 20), p99 {:.1} ms (promised 60), {ROUNDS} times",
        samples.percentile_ms(50.0),
        samples.percentile_ms(99.0),
    )])
}
