//! Pods bound through the API: decided, sent, on disk, and seen again by the watch.

use serde_json::{Value, json};

use super::progress::Progress;
use super::{Plane, own, pod_spec};
use crate::figures::schedule::{apart, plain, spread};
use k8s_openapi::api::core::v1::Pod;

struct Case {
    name: &'static str,
    nodes: usize,
    pods: usize,
    spec: fn() -> Value,
    promised: &'static str,
}

const CASES: [Case; 4] = [
    Case { name: "plain pods", nodes: 1_000, pods: 10_000, spec: plain, promised: "" },
    Case {
        name: "plain pods",
        nodes: 5_000,
        pods: 10_000,
        spec: plain,
        promised: "; promised 4,000/s, 0.4 ms",
    },
    Case {
        name: "anti-affinity",
        nodes: 1_000,
        pods: 1_000,
        spec: apart,
        promised: "; promised 2,500/s",
    },
    Case {
        name: "topology spread",
        nodes: 1_000,
        pods: 5_000,
        spec: spread,
        promised: "; promised 2,500/s",
    },
];

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for case in &CASES {
        lines.push(measure_case(case).await?);
    }
    Ok(lines)
}

/// The pods are there before the scheduler; from the first binding that is seen to the last one.
async fn measure_case(case: &Case) -> anyhow::Result<String> {
    let plane = Plane::start().await?;
    plane.nodes(case.nodes, 110).await?;
    plane.pods(case.pods, |_| pod(&(case.spec)())).await?;
    let pods = plane.caches.get::<Pod>();
    pods.wait_synced().await;
    let is_bound = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let progress = Progress::of(&pods, case.pods, is_bound);
    let scheduler = coracle_scheduler::run(&plane.caches, coracle_scheduler::Config::default());
    let (first, last) = progress.done().await?;
    scheduler.stop().await;
    let rate = case.pods as f64 / (last.at - first.at).as_secs_f64();
    let cpu = (last.cpu - first.cpu).as_secs_f64() * 1e3 / case.pods as f64;
    Ok(format!(
        "schedule through the API, {} on {} nodes: {rate:.0} pods/s, {cpu:.2} ms of CPU each{}; {:.0} MiB resident",
        case.name,
        case.nodes,
        case.promised,
        own().resident_bytes()? as f64 / f64::from(1 << 20),
    ))
}

/// A pod as a ReplicaSet makes it: upstream's default spread counts it with its siblings.
fn pod(more: &Value) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": true});
    json!({"metadata": {"ownerReferences": [owner]}, "spec": pod_spec(more)})
}
