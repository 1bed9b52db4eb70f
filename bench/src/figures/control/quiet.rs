//! What controllers and scheduler cost when nothing happens in a large cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{Plane, hosts, node_name, own, pod_spec};

const HOSTS: usize = 100;
const PODS: usize = 150_000;

/// How long until every controller has seen all pods.
const SETTLES: Duration = Duration::from_secs(20);

/// How long idleness is looked at.
const IDLE: Duration = Duration::from_secs(60);

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let plane = Plane::start().await?;
    plane.nodes(HOSTS, PODS).await?;
    let bound =
        |number: usize| json!({"spec": pod_spec(&json!({"nodeName": node_name(number % HOSTS)}))});
    let before = own().resident_bytes()?;
    plane.pods(PODS, bound).await?;
    let stored = own().resident_bytes()?;
    // What the hosts and the server cost without anybody who looks.
    let mut beating = hosts::beat_only(&plane, HOSTS);
    tokio::time::sleep(SETTLES).await;
    let alone = share().await?;
    let controllers =
        coracle_controllers::run(&plane.caches, coracle_controllers::Config::default());
    let scheduler = coracle_scheduler::run(&plane.caches, coracle_scheduler::Config::default());
    plane.caches.get::<Pod>().wait_synced().await;
    tokio::time::sleep(SETTLES).await;
    let all = share().await?;
    let cached = own().resident_bytes()?;
    beating.shutdown().await;
    scheduler.stop().await;
    controllers.stop().await;
    let each = |bytes: u64| bytes as f64 / 1024.0 / PODS as f64;
    Ok(vec![format!(
        "idle with {PODS} pods: controllers and scheduler {:.2} % of a core (promised 1), server with {HOSTS} heartbeats \
         {alone:.2} %; {:.1} KiB of memory for a pod in the server, {:.1} KiB in the caches",
        all - alone,
        each(stored.saturating_sub(before)),
        each(cached.saturating_sub(stored)),
    )])
}

/// The CPU of this process in percent of a core.
async fn share() -> anyhow::Result<f64> {
    let before = own().cpu()?;
    tokio::time::sleep(IDLE).await;
    Ok((own().cpu()? - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0)
}
