//! 10,000 Services with 100,000 endpoints on a host: memory, time of a start, and what one change costs.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use coracle_e2e::{Cluster, eventually, get, within};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::process::Processes;

const SERVICES: u32 = 10_000;
const ENDPOINTS_EACH: u32 = 10;
/// Creations in flight.
const IN_FLIGHT: usize = 64;
/// Endpoints that are changed one after another.
const CHANGES: u32 = 100;
/// Pause between two of them: changes at once would be counted as one.
const APART: Duration = Duration::from_millis(100);
/// How long a host may take to do what it was told, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a host has nothing to do before its memory is looked at.
const REST: Duration = Duration::from_secs(10);
/// A supervisor waits longer for a host that dies soon after its start.
const PAUSE: Duration = Duration::from_secs(31);

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    cluster.push("hello:1", &crate::figures::hello_wasm());
    let port = cluster.node_port(0);
    cluster.apply(&crate::figures::hello_pod("hello").to_string());
    cluster.apply(&crate::figures::hello::service(port).to_string());
    let answers = || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    };
    eventually("hello answers", answers);
    let client = crate::figures::ready::client(&cluster).await?;
    tokio::time::sleep(REST).await;
    let few = Processes::of(&cluster)?.host.resident_bytes()?;
    let change_few = cost_of_changes(&cluster, &client, "few").await?;
    let start_few = restart(&cluster, answers).await?;
    fill(&client).await?;
    // What came last is in the table: whatever came before it is, too.
    let last = cluster.node_port(1);
    let mut service = crate::figures::hello::service(last);
    service["metadata"]["name"] = json!("last");
    cluster.apply(&service.to_string());
    within(PATIENCE, "the last Service answers", || get(last, "/").map(drop));
    tokio::time::sleep(REST).await;
    let many = Processes::of(&cluster)?.host.resident_bytes()?;
    let change_many = cost_of_changes(&cluster, &client, "many").await?;
    let start_many = restart(&cluster, answers).await?;
    let mebi = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(vec![
        format!(
            "{SERVICES} Services with {} endpoints: {:.0} MiB on a host, {:.0} MiB of them for the Services (promised 120)",
            SERVICES * ENDPOINTS_EACH,
            mebi(many),
            mebi(many.saturating_sub(few)),
        ),
        format!(
            "a killed host's first answer at a node port: {:.2} s with them, {:.2} s without (promised 1 s until the table is ready); {:.1} and {:.1} s of CPU until then",
            start_many.0.as_secs_f64(),
            start_few.0.as_secs_f64(),
            start_many.1.as_secs_f64(),
            start_few.1.as_secs_f64(),
        ),
        format!(
            "one endpoint's change, the host's CPU in all: {:.1} ms with them, {:.1} ms without",
            change_many.as_secs_f64() * 1e3,
            change_few.as_secs_f64() * 1e3,
        ),
    ])
}

/// Makes Services without a selector, and their endpoints by hand.
async fn fill(client: &Client) -> anyhow::Result<()> {
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let make = |number: u32| {
        let (services, slices) = (services.clone(), slices.clone());
        async move {
            let name = format!("service-{number}");
            let service = json!({"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}});
            let parameters = PostParams::default();
            services.create(&parameters, &serde_json::from_value(service)?).await?;
            let first = number * ENDPOINTS_EACH;
            let slice = serde_json::from_value(slice(&name, first, ENDPOINTS_EACH))?;
            slices.create(&parameters, &slice).await.context("create a slice")?;
            anyhow::Ok(())
        }
    };
    stream::iter(0..SERVICES).map(make).buffer_unordered(IN_FLIGHT).try_collect::<()>().await
}

fn slice(service: &str, first: u32, count: u32) -> Value {
    let endpoint = |number: u32| {
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 200, 0, 0).to_bits() + number);
        json!({"addresses": [ip.to_string()], "nodeName": format!("host-{}", number % 1000),
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": format!("{service}-{number}"),
                "uid": format!("00000000-0000-4000-8000-{number:012}")}})
    };
    let endpoints: Vec<Value> = (first..first + count).map(endpoint).collect();
    json!({"metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
}

/// Changes an endpoint of a Service of its own again and again; the host's CPU for each change.
async fn cost_of_changes(
    cluster: &Cluster,
    client: &Client,
    name: &str,
) -> anyhow::Result<Duration> {
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": 80}]}});
    cluster.apply(&service.to_string());
    let state = serde_json::from_value(slice(name, 0, 5))?;
    slices.create(&PostParams::default(), &state).await.context("create a slice")?;
    tokio::time::sleep(REST).await;
    let host = Processes::of(cluster)?.host;
    let idle = host.cpu()?;
    let time = APART * CHANGES;
    tokio::time::sleep(time).await;
    let before = host.cpu()?;
    let idle = before.saturating_sub(idle);
    for turn in 0..CHANGES {
        let ip = format!("10.250.0.{}", turn + 1);
        let body = json!({"endpoints": [{"addresses": [ip], "conditions": {"ready": true}}]});
        slices.patch(name, &PatchParams::default(), &Patch::Merge(&body)).await?;
        tokio::time::sleep(APART).await;
    }
    Ok((host.cpu()?.saturating_sub(before).saturating_sub(idle)) / CHANGES)
}

/// Kills the host; the time until it answers again, and the CPU that it used until then.
async fn restart(
    cluster: &Cluster,
    answers: impl Fn() -> Result<(), Result<coracle_e2e::Answer, String>>,
) -> anyhow::Result<(Duration, Duration)> {
    tokio::time::sleep(PAUSE).await;
    let start = Instant::now();
    cluster.kill_host();
    while answers().is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
        ensure!(start.elapsed() < PATIENCE, "no answer after {PATIENCE:?}");
    }
    let took = start.elapsed();
    Ok((took, Processes::of(cluster)?.host.cpu()?))
}
