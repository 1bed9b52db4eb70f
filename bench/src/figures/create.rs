//! Durable creates over HTTPS, and lists of 10,000 ConfigMaps.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use coracle_e2e::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::process::Processes;
use crate::sample::Samples;

const OBJECTS: usize = 10_000;
const CONNECTIONS: usize = 4;
const IN_FLIGHT_EACH: usize = 16;
const LISTS: usize = 20;

/// CPU of kube-apiserver and etcd together for a create, in microseconds, and milliseconds for the
/// list: measured on a machine of this kind (`specs/SPECIFICATION.md`).
const REFERENCE_CREATE_US: f64 = 860.0;
const REFERENCE_LIST_MS: f64 = 105.0;

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    let server = Processes::of(&cluster)?.server;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(super::ready::client(&cluster).await?);
    }
    let before = server.cpu()?;
    let (latency, wall) = create_all(&clients).await?;
    let cpu = (server.cpu()? - before).as_secs_f64() * 1e6 / OBJECTS as f64;
    let lists = list_all(&clients[0]).await?;
    let list = lists.percentile_ms(50.0);
    Ok(vec![
        format!(
            "create: {:.0}/s, p50 {:.1} ms, p99 {:.1} ms, {cpu:.0} us server CPU each (promised 200; kube-apiserver and etcd {REFERENCE_CREATE_US:.0})",
            OBJECTS as f64 / wall.as_secs_f64(),
            latency.percentile_ms(50.0),
            latency.percentile_ms(99.0),
        ),
        format!(
            "list of {OBJECTS}: p50 {list:.1} ms (promised 15; kube-apiserver {REFERENCE_LIST_MS:.0})"
        ),
        format!("  server after it: {} MiB resident", server.resident_bytes()? >> 20),
    ])
}

async fn create_all(clients: &[Client]) -> anyhow::Result<(Samples, Duration)> {
    let start = Instant::now();
    let writers = CONNECTIONS * IN_FLIGHT_EACH;
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let maps: Api<ConfigMap> =
                Api::default_namespaced(clients[writer % CONNECTIONS].clone());
            tokio::spawn(async move {
                let mut samples = Samples::default();
                for number in (writer..OBJECTS).step_by(writers) {
                    let map = config_map(number)?;
                    let start = Instant::now();
                    maps.create(&PostParams::default(), &map).await.context("create")?;
                    samples.push(start.elapsed());
                }
                anyhow::Ok(samples)
            })
        })
        .collect();
    let mut all = Samples::default();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok((all, start.elapsed()))
}

/// 256 bytes of data, as in the reference's measurement.
fn config_map(number: usize) -> anyhow::Result<ConfigMap> {
    Ok(serde_json::from_value(serde_json::json!({
        "metadata": {"name": format!("map-{number:05}"), "labels": {"group": (number % 100).to_string()}},
        "data": {"value": "x".repeat(256)},
    }))?)
}

/// Whole lists as bytes: what the client does with them is not measured.
async fn list_all(client: &Client) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..LISTS {
        let request =
            http::Request::get("/api/v1/namespaces/default/configmaps").body(Vec::new())?;
        let start = Instant::now();
        let text = client.request_text(request).await.context("list")?;
        samples.push(start.elapsed());
        anyhow::ensure!(text.len() > OBJECTS * 256, "the list is short: {} bytes", text.len());
    }
    Ok(samples)
}
