//! 100 watchers of ConfigMaps while all connections write without a limit.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{AsyncBufReadExt as _, StreamExt as _};
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Measured;
use super::operations::name;
use super::target::{CONNECTIONS, IN_FLIGHT_EACH, Target};
use crate::sample::Samples;

const WATCHERS: usize = 100;
const WRITES: usize = 3_000;
/// Leads the nanoseconds since the start at which a write was sent.
const STAMP: &str = "\"sent\":\"";
/// When deliveries are taken for lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every write reaches every watcher; CPU is for each delivery, writes included.
pub(super) async fn deliveries(target: &Target) -> anyhow::Result<Measured> {
    let epoch = Instant::now();
    let (opened, mut open) = mpsc::channel(WATCHERS);
    let watchers: Vec<JoinHandle<anyhow::Result<Samples>>> = (0..WATCHERS)
        .map(|number| {
            let client = target.clients[number % CONNECTIONS].clone();
            tokio::spawn(watch(client, epoch, opened.clone()))
        })
        .collect();
    for _ in 0..WATCHERS {
        open.recv().await.context("a watch did not open")?;
    }
    let before = target.cpu()?;
    let start = Instant::now();
    write_all(target, epoch).await?;
    let mut latency = Samples::default();
    for watcher in watchers {
        let samples = tokio::time::timeout(PATIENCE, watcher).await.context("deliveries lost")?;
        latency.extend(samples??);
    }
    let wall = start.elapsed();
    let cpu_us = (target.cpu()? - before).as_secs_f64() * 1e6 / latency.len() as f64;
    Ok(Measured { name: "delivery to 100 watchers", latency, wall, cpu_us })
}

async fn watch(
    client: Client,
    epoch: Instant,
    opened: mpsc::Sender<()>,
) -> anyhow::Result<Samples> {
    let list = "/api/v1/namespaces/default/configmaps";
    let first: serde_json::Value = client
        .request(http::Request::get(format!("{list}?limit=1")).body(Vec::new())?)
        .await
        .context("read the resourceVersion")?;
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap_or("0");
    let request = http::Request::get(format!("{list}?watch=1&resourceVersion={revision}"));
    let mut lines = client.request_stream(request.body(Vec::new())?).await?.lines();
    opened.send(()).await.context("report an open watch")?;
    let mut samples = Samples::default();
    while samples.len() < WRITES {
        let line = lines.next().await.context("a watch ended")?.context("read a watch")?;
        let at = line.find(STAMP).context("an event without a stamp")? + STAMP.len();
        let digits = line[at..].split('"').next().unwrap_or_default();
        let sent = Duration::from_nanos(digits.parse().context("parse a stamp")?);
        samples.push(epoch.elapsed().saturating_sub(sent));
    }
    Ok(samples)
}

async fn write_all(target: &Target, epoch: Instant) -> anyhow::Result<()> {
    let writers = CONNECTIONS * IN_FLIGHT_EACH;
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let maps = target.config_maps(writer);
            tokio::spawn(async move {
                for number in (writer..WRITES).step_by(writers) {
                    let sent = epoch.elapsed().as_nanos().to_string();
                    let patch = Patch::Merge(json!({"data": {"sent": sent}}));
                    maps.patch(&name(number), &PatchParams::default(), &patch).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}
