//! The single operations on 10,000 ConfigMaps of 750 bytes.

use std::future::Future;
use std::time::Instant;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::Measured;
use super::target::{CONNECTIONS, IN_FLIGHT_EACH, Target};
use crate::sample::Samples;

pub(super) const OBJECTS: usize = 10_000;
const LISTS: usize = 20;
const SELECTIONS: usize = 500;
const LIST: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

pub(super) async fn create(target: &Target) -> anyhow::Result<Measured> {
    on_each(target, "create", |maps, number| async move {
        maps.create(&PostParams::default(), &config_map(number, "x")?).await?;
        Ok(())
    })
    .await
}

pub(super) async fn get(target: &Target) -> anyhow::Result<Measured> {
    on_each(target, "get", |maps, number| async move {
        maps.get(&name(number)).await?;
        Ok(())
    })
    .await
}

pub(super) async fn update(target: &Target) -> anyhow::Result<Measured> {
    on_each(target, "update", |maps, number| async move {
        let map = config_map(number, "y")?;
        maps.replace(&name(number), &PostParams::default(), &map).await?;
        Ok(())
    })
    .await
}

pub(super) async fn merge_patch(target: &Target) -> anyhow::Result<Measured> {
    on_each(target, "merge patch", |maps, number| async move {
        let patch = Patch::Merge(json!({"data": {"value": "z".repeat(256)}}));
        maps.patch(&name(number), &PatchParams::default(), &patch).await?;
        Ok(())
    })
    .await
}

pub(super) async fn apply(target: &Target) -> anyhow::Result<Measured> {
    on_each(target, "apply (server side)", |maps, number| async move {
        let patch = Patch::Apply(config_map(number, "a")?);
        maps.patch(&name(number), &PatchParams::apply("bench").force(), &patch).await?;
        Ok(())
    })
    .await
}

pub(super) async fn delete(target: &Target) -> anyhow::Result<Measured> {
    on_each(target, "delete", |maps, number| async move {
        maps.delete(&name(number), &DeleteParams::default()).await?;
        Ok(())
    })
    .await
}

/// Whole lists as bytes: what the client does with them is not measured.
pub(super) async fn list(target: &Target) -> anyhow::Result<Measured> {
    one_after_another(target, "list of 10,000", LISTS, LIST, "application/json").await
}

/// The same as kubectl asks for it.
pub(super) async fn table(target: &Target) -> anyhow::Result<Measured> {
    one_after_another(target, "Table of 10,000", LISTS, LIST, TABLE).await
}

/// 100 of the 10,000.
pub(super) async fn by_label(target: &Target) -> anyhow::Result<Measured> {
    let path = format!("{LIST}?labelSelector=group%3D7");
    one_after_another(target, "list by label, 1 %", SELECTIONS, &path, "application/json").await
}

pub(super) fn name(number: usize) -> String {
    format!("map-{number:05}")
}

/// 256 bytes of data, 750 on the wire.
pub(super) fn config_map(number: usize, letter: &str) -> anyhow::Result<ConfigMap> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name(number), "labels": {"group": (number % 100).to_string()}},
        "data": {"value": letter.repeat(256)},
    }))?)
}

/// Runs `operation` once for each object, from all connections.
async fn on_each<F, Fut>(
    target: &Target,
    what: &'static str,
    operation: F,
) -> anyhow::Result<Measured>
where
    F: Fn(Api<ConfigMap>, usize) -> Fut + Copy + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    let before = target.cpu()?;
    let start = Instant::now();
    let writers = CONNECTIONS * IN_FLIGHT_EACH;
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let maps = target.config_maps(writer);
            tokio::spawn(async move {
                let mut samples = Samples::default();
                for number in (writer..OBJECTS).step_by(writers) {
                    let start = Instant::now();
                    operation(maps.clone(), number).await.context(what)?;
                    samples.push(start.elapsed());
                }
                anyhow::Ok(samples)
            })
        })
        .collect();
    let mut latency = Samples::default();
    for task in tasks {
        latency.extend(task.await??);
    }
    let wall = start.elapsed();
    let cpu_us = (target.cpu()? - before).as_secs_f64() * 1e6 / OBJECTS as f64;
    Ok(Measured { name: what, latency, wall, cpu_us })
}

async fn one_after_another(
    target: &Target,
    what: &'static str,
    times: usize,
    path: &str,
    accept: &str,
) -> anyhow::Result<Measured> {
    let before = target.cpu()?;
    let start = Instant::now();
    let mut latency = Samples::default();
    for _ in 0..times {
        latency.push(fetch(&target.clients[0], path, accept).await.context(what)?);
    }
    let wall = start.elapsed();
    let cpu_us = (target.cpu()? - before).as_secs_f64() * 1e6 / times as f64;
    Ok(Measured { name: what, latency, wall, cpu_us })
}

async fn fetch(client: &Client, path: &str, accept: &str) -> anyhow::Result<std::time::Duration> {
    let request = http::Request::get(path).header("accept", accept).body(Vec::new())?;
    let start = Instant::now();
    let text = client.request_text(request).await?;
    let elapsed = start.elapsed();
    anyhow::ensure!(text.len() > 10_000, "the answer is short: {} bytes", text.len());
    Ok(elapsed)
}
