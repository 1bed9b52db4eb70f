//! What hostile pods do to the requests of another pod on the same host.

use coracle_e2e::{BEHAVE, Cluster, HTTP, eventually, get};
use serde_json::json;

use crate::load;

const CONNECTIONS: usize = 8;
const REQUESTS_EACH: usize = 2_000;

/// What the hostile pods do: compute for ever, log for ever, take memory until they are killed, and
/// start again.
const TRICKS: [&[&str]; 4] =
    [&["spin"], &["spin"], &["flood", "1000000000"], &["allocate", "4000"]];

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    cluster.push("hello:1", &super::hello_wasm());
    cluster.push_guests(&coracle_e2e::build_guests("tests/guests"));
    let port = cluster.node_port(0);
    cluster.apply(&super::hello_pod("hello").to_string());
    cluster.apply(&super::hello::service(port).to_string());
    eventually("hello answers", || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
    let alone = p99(port).await?;
    let mut pods = Vec::new();
    for (number, args) in TRICKS.iter().enumerate() {
        pods.push(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("hostile-{number}")},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
                "name": "c", "image": BEHAVE, "args": args,
                "resources": {"limits": {"cpu": "250m", "memory": "256Mi"}},
            }]},
        }));
    }
    pods.push(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hostile-http"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "c", "image": HTTP, "ports": [{"containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/allocate?512", "port": 8080}, "periodSeconds": 1},
            "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}},
        }]},
    }));
    cluster.make(&pods);
    cluster.shows("pod/hostile-0", "/status/phase", "Running");
    let beside = p99(port).await?;
    Ok(vec![format!(
        "hostile neighbours, 1.25 cores of limits: p99 {alone:.2} ms alone, {beside:.2} ms beside them, {:.2} x (promised 1.1)",
        beside / alone,
    )])
}

async fn p99(port: u16) -> anyhow::Result<f64> {
    load::run(port, CONNECTIONS, 200).await?;
    let load = load::run(port, CONNECTIONS, REQUESTS_EACH).await?;
    Ok(load.latency.percentile_ms(99.0))
}
