//! A Deployment from nothing to many pods, and its rolling restart, on hosts that only say that pods run.

use std::time::Duration;

use anyhow::Context as _;
use coracle_controllers::Controllers;
use coracle_scheduler::Running;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::task::JoinSet;

use super::progress::{Mark, Progress};
use super::{Plane, hosts, pod_spec};

const HOSTS: usize = 100;

/// Pods of the Deployment whose way up is promised.
const PODS: usize = 10_000;

/// Pods that are restarted: from few to the many of the promise, so that it shows how CPU grows.
const RESTARTED: [usize; 3] = [1_000, 5_000, 20_000];

/// How long until everything that follows the nodes has settled.
const SETTLES: Duration = Duration::from_secs(2);

struct Cluster {
    plane: Plane,
    controllers: Controllers,
    scheduler: Running,
    hosts: JoinSet<()>,
}

pub(crate) async fn up() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start().await?;
    let (begin, end) = cluster.deploy(PODS).await?;
    cluster.stop().await;
    Ok(vec![format!(
        "Deployment from 0 to {PODS} pods on {HOSTS} hosts: all Ready after {:.1} s (promised 5), {:.2} ms of CPU each",
        (end.at - begin.at).as_secs_f64(),
        each(begin, end, PODS),
    )])
}

pub(crate) async fn restart() -> anyhow::Result<Vec<String>> {
    let mut parts = Vec::new();
    for count in RESTARTED {
        let cluster = Cluster::start().await?;
        cluster.deploy(count).await?;
        tokio::time::sleep(SETTLES).await;
        let (begin, end) = cluster.restart(count).await?;
        cluster.stop().await;
        let seconds = (end.at - begin.at).as_secs_f64();
        parts.push(format!("{:.2} ms each of {count} ({seconds:.0} s)", each(begin, end, count)));
    }
    Ok(vec![format!("rolling restart, CPU: {} (promised: linear)", parts.join(", "))])
}

fn each(begin: Mark, end: Mark, count: usize) -> f64 {
    (end.cpu - begin.cpu).as_secs_f64() * 1e3 / count as f64
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

impl Cluster {
    async fn start() -> anyhow::Result<Cluster> {
        let plane = Plane::start().await?;
        let controllers =
            coracle_controllers::run(&plane.caches, coracle_controllers::Config::default());
        let scheduler = coracle_scheduler::run(&plane.caches, coracle_scheduler::Config::default());
        plane.nodes(HOSTS, 1_000).await?;
        let hosts = hosts::start(&plane, HOSTS);
        tokio::time::sleep(SETTLES).await;
        Ok(Cluster { plane, controllers, scheduler, hosts })
    }

    async fn stop(mut self) {
        self.hosts.shutdown().await;
        self.scheduler.stop().await;
        self.controllers.stop().await;
    }

    /// From the request to the last pod that is Ready.
    async fn deploy(&self, count: usize) -> anyhow::Result<(Mark, Mark)> {
        let pods = self.plane.caches.get::<Pod>();
        pods.wait_synced().await;
        let progress = Progress::of(&pods, count, is_ready);
        let deployment: Deployment = serde_json::from_value(json!({"metadata": {"name": "web"},
            "spec": {"replicas": count, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod_spec(&json!({}))}}}))?;
        let begin = Mark::now()?;
        let api = self.plane.client().namespaced::<Deployment>("default");
        api.create(&PostParams::default(), &deployment).await.context("create the Deployment")?;
        let (_, end) = progress.done().await?;
        Ok((begin, end))
    }

    /// From the request to the status that says that all pods are new and available.
    async fn restart(&self, count: usize) -> anyhow::Result<(Mark, Mark)> {
        let wanted = i32::try_from(count)?;
        let begin = Mark::now()?;
        let patch =
            json!({"spec": {"template": {"metadata": {"annotations": {"restarted": "yes"}}}}});
        let api = self.plane.client().namespaced::<Deployment>("default");
        let patched = api.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await;
        let generation = patched.context("restart the Deployment")?.metadata.generation;
        let deployments = self.plane.caches.get::<Deployment>();
        deployments.wait_synced().await;
        let progress = Progress::of(&deployments, 1, move |deployment: &Deployment| {
            deployment.status.as_ref().is_some_and(|status| {
                status.observed_generation >= generation
                    && status.updated_replicas == Some(wanted)
                    && status.available_replicas == Some(wanted)
                    && status.replicas == Some(wanted)
            })
        });
        let (_, end) = progress.done().await?;
        Ok((begin, end))
    }
}
