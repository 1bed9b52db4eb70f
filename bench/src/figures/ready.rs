//! From a pod's creation to Ready, as a watch sees it: image cached, one pod after another.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use coracle_e2e::Cluster;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};

use crate::sample::Samples;

const PODS: usize = 200;

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    cluster.push("hello:1", &super::hello_wasm());
    let pods: Api<Pod> = Api::default_namespaced(client(&cluster).await?);
    // The first pod pulls and compiles the image.
    create_and_wait(&pods, "warm-up").await?;
    let mut samples = Samples::default();
    for number in 0..PODS {
        let name = format!("pod-{number}");
        samples.push(create_and_wait(&pods, &name).await?);
        pods.delete(&name, &DeleteParams::default().grace_period(0)).await?;
    }
    Ok(vec![format!(
        "pod create to Ready: p50 {:.1} ms (promised 15), p99 {:.1} ms (promised 50), {PODS} pods",
        samples.percentile_ms(50.0),
        samples.percentile_ms(99.0),
    )])
}

/// A client of the cluster's kubeconfig.
pub(crate) async fn client(cluster: &Cluster) -> anyhow::Result<Client> {
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig())?;
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

async fn create_and_wait(pods: &Api<Pod>, name: &str) -> anyhow::Result<Duration> {
    let fields = format!("metadata.name={name}");
    let events = pods.watch(&WatchParams::default().fields(&fields), "0").await?;
    let mut events = events.boxed();
    let pod: Pod = serde_json::from_value(super::hello_pod(name))?;
    let start = Instant::now();
    pods.create(&PostParams::default(), &pod).await.context("create a pod")?;
    while let Some(event) = events.try_next().await? {
        if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event
            && is_ready(&pod)
        {
            return Ok(start.elapsed());
        }
    }
    anyhow::bail!("the watch of pod {name} ended before it was Ready")
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
