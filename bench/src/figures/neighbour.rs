//! What hostile pods do to the requests of another pod on the same host.

use std::time::Duration;

use coracle_e2e::{BEHAVE, Cluster, HTTP, eventually, get};
use serde_json::{Value, json};

use crate::paced::{self, Pace};
use crate::sample::Samples;

/// Requests that leave the machine room: what is asked is whether a pod waits for its neighbours, not
/// how full two cores can be.
const PACE: Pace = Pace { connections: 8, rate: 400, time: Duration::from_secs(4) };

/// Times that the pod is measured alone and then beside the others: what else the machine does comes
/// and goes, and shall be in both.
const ROUNDS: usize = 5;

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
    let (mut alone, mut beside) = (Samples::default(), Samples::default());
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let before = paced::run(port, PACE)?;
        cluster.make(&hostile(round));
        for number in 0..2 {
            cluster.shows(&format!("pod/hostile-{round}-{number}"), "/status/phase", "Running");
        }
        let among = paced::run(port, PACE)?;
        cluster.run(&["delete", "pod", "-l", "is=hostile", "--force", "--grace-period=0"]);
        ratios.push(among.percentile_ms(99.0) / before.percentile_ms(99.0));
        alone.extend(before);
        beside.extend(among);
    }
    ratios.sort_by(f64::total_cmp);
    let at = |samples: &Samples, percent| samples.percentile_ms(percent);
    Ok(vec![format!(
        "hostile neighbours, 1.25 cores of limits, {} requests/s: p50 {:.2} ms alone, {:.2} ms beside them; p99 {:.2} and {:.2} ms, {:.2} x (median of {ROUNDS} rounds {:.2} x, promised 1.1)",
        PACE.rate,
        at(&alone, 50.0),
        at(&beside, 50.0),
        at(&alone, 99.0),
        at(&beside, 99.0),
        at(&beside, 99.0) / at(&alone, 99.0),
        ratios.get(ROUNDS / 2).copied().unwrap_or_default(),
    )])
}

/// The hostile pods of a round.
fn hostile(round: usize) -> Vec<Value> {
    let pod = |name: String, container: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"is": "hostile"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        })
    };
    let mut pods = Vec::new();
    for (number, args) in TRICKS.iter().enumerate() {
        let container = json!({
            "name": "c", "image": BEHAVE, "args": args,
            "resources": {"limits": {"cpu": "250m", "memory": "256Mi"}},
        });
        pods.push(pod(format!("hostile-{round}-{number}"), container));
    }
    let http = json!({
        "name": "c", "image": HTTP, "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/allocate?512", "port": 8080}, "periodSeconds": 1},
        "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}},
    });
    pods.push(pod(format!("hostile-{round}-http"), http));
    pods
}
