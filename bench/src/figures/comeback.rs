//! How long a pod does not answer when its host is killed.

use std::time::{Duration, Instant};

use coracle_e2e::{Cluster, build_guests, eventually, get, pod, sh};
use serde_json::json;

use crate::sample::Samples;

/// Times that the host is killed.
const KILLS: usize = 5;

/// Longest time without an answer before something else is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause after each kill: a supervisor waits longer for a host that dies at once.
const PAUSE: Duration = Duration::from_secs(31);

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    cluster.push("hello:1", &super::hello_wasm());
    cluster.push("behave:1", &build_guests("tests/guests").join("behave.wasm"));
    let port = cluster.node_port(0);
    cluster.apply(&super::hello_pod("hello").to_string());
    cluster.apply(&super::hello::service(port).to_string());
    let idle = json!({"containers": [sh("c", "while true; do sleep 1; done", &json!({}))]});
    cluster.make(&[pod("beside", &idle)]);
    cluster.ready("beside");
    let answers = || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    };
    eventually("hello answers", answers);
    let mut samples = Samples::default();
    for _ in 0..KILLS {
        tokio::time::sleep(PAUSE).await;
        let start = Instant::now();
        cluster.kill_host();
        while answers().is_err() {
            std::thread::sleep(Duration::from_millis(2));
            anyhow::ensure!(start.elapsed() < PATIENCE, "no answer after {PATIENCE:?}");
        }
        samples.push(start.elapsed());
    }
    Ok(vec![format!(
        "host killed to its pod's next answer: p50 {:.2} s, longest {:.2} s of {KILLS} (promised 1)",
        samples.percentile_ms(50.0) / 1e3,
        samples.percentile_ms(100.0) / 1e3,
    )])
}
