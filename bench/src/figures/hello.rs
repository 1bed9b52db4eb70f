//! HTTP hello through a node port and a Service, with fresh and with pooled instances, beside
//! `wasmtime serve` with the same component.

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

/// How our container and a reference share instances, and what was promised of the one beside the
/// other, in CPU for each request.
struct Case {
    words: &'static str,
    isolation: &'static str,
    /// Flags of `wasmtime serve`, and the promised ratio.
    references: &'static [(&'static str, &'static [&'static str], f64)],
}

/// The pool with the scan of touched pages is the fastest way of `wasmtime serve` to make an
/// instance anew.
const BEST: &[&str] = &["-O", "pooling-allocator=y,pooling-pagemap-scan=y"];

const CASES: [Case; 2] = [
    Case {
        words: "fresh instance",
        isolation: "request",
        references: &[("defaults", &[], 0.33), ("best flags", BEST, 0.8)],
    },
    Case {
        words: "pooled instances",
        isolation: "pooled",
        references: &[("reuse 128", &["--max-instance-reuse-count", "128"], 1.0)],
    },
];

pub(crate) async fn measure(with_references: bool) -> anyhow::Result<Vec<String>> {
    let wasm = super::hello_wasm();
    let cluster = Cluster::start();
    cluster.push("hello:1", &wasm);
    let mut lines = Vec::new();
    for (index, case) in (0..).zip(&CASES) {
        let port = serve(&cluster, case.isolation, index);
        let host = Processes::of(&cluster)?.host;
        let (ours, cpu) = run(port, host).await.context("load on our node port")?;
        lines.push(ours.line(&format!("hello, {}", case.words), cpu));
        if !with_references {
            continue;
        }
        for (name, flags, promised) in case.references {
            let serve = WasmtimeServe::start(&wasm, REFERENCE_PORT, flags).await?;
            let (theirs, their_cpu) =
                run(serve.port, serve.process()).await.context("load on wasmtime serve")?;
            lines.push(theirs.line(&format!("  wasmtime serve, {name}"), their_cpu));
            lines.push(format!(
                "  ratio: {:.2} x the CPU (promised {promised}), {:.2} x the requests/s, {:.2} x the p99 (promised 1)",
                cpu / their_cpu,
                ours.rate() / theirs.rate(),
                ours.latency.percentile_ms(99.0) / theirs.latency.percentile_ms(99.0),
            ));
        }
    }
    Ok(lines)
}

/// Runs the component behind a Service with a node port, which is given.
fn serve(cluster: &Cluster, isolation: &str, index: u16) -> u16 {
    let port = cluster.node_port(index);
    let mut pod = super::hello_pod(isolation);
    pod["metadata"]["labels"]["app"] = isolation.into();
    pod["metadata"]["annotations"] = serde_json::json!({"coracle.dev/isolation": isolation});
    cluster.apply(&pod.to_string());
    let mut service = service(port);
    service["metadata"]["name"] = isolation.into();
    service["spec"]["selector"]["app"] = isolation.into();
    cluster.apply(&service.to_string());
    eventually("hello answers", || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
    port
}

async fn run(port: u16, process: Process) -> anyhow::Result<(Load, f64)> {
    load::run(port, CONNECTIONS, WARM_UP_EACH).await?;
    let before = process.cpu()?;
    let load = load::run(port, CONNECTIONS, REQUESTS_EACH).await?;
    let cpu = (process.cpu()? - before).as_secs_f64() * 1e6 / load.latency.len() as f64;
    Ok((load, cpu))
}

/// A Service `hello` of the pods with that label.
pub(crate) fn service(node_port: u16) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"},
        "spec": {"type": "NodePort", "selector": {"app": "hello"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": node_port}]},
    })
}
