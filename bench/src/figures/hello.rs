//! HTTP hello through a node port and a Service, a fresh instance for each request, beside
//! `wasmtime serve` with the same component and its defaults.

use anyhow::Context as _;
use coracle_e2e::{Cluster, eventually, get};

use crate::load::{self, Load};
use crate::process::{Process, Processes};
use crate::reference::wasmtime::WasmtimeServe;

const CONNECTIONS: usize = 64;
const REQUESTS_EACH: usize = 1_000;
const WARM_UP_EACH: usize = 50;

/// Port of the reference on loopback.
const REFERENCE_PORT: u16 = 18_080;

pub(crate) async fn measure(with_references: bool) -> anyhow::Result<Vec<String>> {
    let wasm = super::hello_wasm();
    let cluster = Cluster::start();
    cluster.push("hello:1", &wasm);
    let port = cluster.node_port(0);
    cluster.apply(&super::hello_pod("hello").to_string());
    cluster.apply(&service(port));
    eventually("hello answers", || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
    let host = Processes::of(&cluster)?.host;
    let (ours, cpu) = run(port, host).await.context("load on our node port")?;
    let mut lines = vec![line("hello, fresh instance", &ours, cpu)];
    if with_references {
        let serve = WasmtimeServe::start(&wasm, REFERENCE_PORT).await?;
        let (theirs, cpu) =
            run(serve.port, serve.process()).await.context("load on wasmtime serve")?;
        lines.push(line("  wasmtime serve", &theirs, cpu));
        lines.push(format!(
            "  ratio: {:.2} x the requests/s (promised 2), {:.2} x the p99 (promised <= 1)",
            ours.rate() / theirs.rate(),
            ours.latency.percentile_ms(99.0) / theirs.latency.percentile_ms(99.0),
        ));
    }
    Ok(lines)
}

async fn run(port: u16, process: Process) -> anyhow::Result<(Load, f64)> {
    load::run(port, CONNECTIONS, WARM_UP_EACH).await?;
    let before = process.cpu()?;
    let load = load::run(port, CONNECTIONS, REQUESTS_EACH).await?;
    let cpu = (process.cpu()? - before).as_secs_f64() * 1e6 / load.latency.len() as f64;
    Ok((load, cpu))
}

fn line(what: &str, load: &Load, cpu: f64) -> String {
    format!(
        "{what}: {:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms, {cpu:.0} us CPU each",
        load.rate(),
        load.latency.percentile_ms(50.0),
        load.latency.percentile_ms(99.0),
    )
}

pub(crate) fn service(node_port: u16) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"},
        "spec": {"type": "NodePort", "selector": {"app": "hello"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": node_port}]},
    })
    .to_string()
}
