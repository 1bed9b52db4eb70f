//! What an idle server and host cost, how large the binary is, and how long a start takes.

use std::time::{Duration, Instant};

use coracle_e2e::{Cluster, coracle, eventually, get};

use crate::process::Processes;

/// How long idleness is looked at.
const IDLE: Duration = Duration::from_secs(20);

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let binary = std::fs::metadata(coracle())?.len();
    let mut cluster = Cluster::start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let processes = Processes::of(&cluster)?;
    let all = [processes.server, processes.host, processes.supervisor];
    let cpu = || all.iter().map(|process| process.cpu()).sum::<anyhow::Result<Duration>>();
    let before = cpu()?;
    tokio::time::sleep(IDLE).await;
    let share = (cpu()? - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let mut lines = vec![
        format!(
            "idle: server {:.1} MiB, host {:.1} MiB (promised 40 each), supervisor {:.1} MiB, together {share:.2} % of a core (promised 0.5)",
            mebibytes(processes.server.resident_bytes()?),
            mebibytes(processes.host.resident_bytes()?),
            mebibytes(processes.supervisor.resident_bytes()?),
        ),
        format!("binary: {:.1} MB (promised 60)", binary as f64 / 1e6),
    ];
    lines.push(start_to_serving(&mut cluster)?);
    Ok(lines)
}

/// A pod and its node port are there; server and host are stopped and started again.
fn start_to_serving(cluster: &mut Cluster) -> anyhow::Result<String> {
    cluster.push("hello:1", &super::hello_wasm());
    let port = cluster.node_port(0);
    cluster.apply(&super::hello_pod("hello").to_string());
    cluster.apply(&super::hello::service(port).to_string());
    let answers = || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    };
    eventually("hello answers", answers);
    let stopped = cluster.coracle(&["down"]);
    anyhow::ensure!(stopped.ok, "down: {stopped:?}");
    let start = Instant::now();
    cluster.start_server();
    while answers().is_err() {
        std::thread::sleep(Duration::from_millis(5));
        anyhow::ensure!(start.elapsed() < Duration::from_secs(60), "not serving after a start");
    }
    Ok(format!("start to serving, warm cache: {:.2} s (promised 1)", start.elapsed().as_secs_f64()))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
