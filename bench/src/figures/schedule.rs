//! Decisions of the scheduler alone, without API and disk: how many each second, and how that moves
//! with the number of nodes and with rules about other pods.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_scheduler::{Scheduler, Step};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::sample::Samples;

const PODS: usize = 10_000;

struct Case {
    name: &'static str,
    nodes: usize,
    /// Pods for which there is a place under the rule.
    pods: usize,
    spec: fn() -> Value,
    promised: &'static str,
}

const CASES: [Case; 5] = [
    Case { name: "plain pods", nodes: 1_000, pods: PODS, spec: plain, promised: "" },
    Case { name: "plain pods", nodes: 5_000, pods: PODS, spec: plain, promised: "50,000/s" },
    Case {
        name: "plain pods",
        nodes: 100_000,
        pods: PODS,
        spec: plain,
        promised: "at most logarithmically slower",
    },
    Case { name: "anti-affinity", nodes: 1_000, pods: 1_000, spec: apart, promised: "2,500/s" },
    Case { name: "topology spread", nodes: 1_000, pods: PODS, spec: spread, promised: "2,500/s" },
];

pub(crate) fn measure() -> anyhow::Result<Vec<String>> {
    CASES.iter().map(measure_case).collect()
}

fn measure_case(case: &Case) -> anyhow::Result<String> {
    let mut scheduler = Scheduler::new(coracle_scheduler::SCHEDULER_NAME_DEFAULT);
    for number in 0..case.nodes {
        scheduler.node_set(None, node(number)?, Duration::ZERO);
    }
    for number in 0..case.pods {
        scheduler.pod_set(pod(number, (case.spec)())?, Duration::ZERO);
    }
    let mut samples = Samples::default();
    let start = Instant::now();
    for number in 0..case.pods {
        let begin = Instant::now();
        let step = scheduler.next(Duration::ZERO, number as u64 * 7919);
        samples.push(begin.elapsed());
        let Some(Step::Bind { pod, .. }) = step else {
            anyhow::bail!("{} on {} nodes: pod {number} got {step:?}", case.name, case.nodes)
        };
        scheduler.bound(pod.metadata.uid.as_deref().unwrap_or_default());
    }
    let rate = case.pods as f64 / start.elapsed().as_secs_f64();
    let promised = match case.promised {
        "" => String::new(),
        promised => format!(" (promised {promised})"),
    };
    Ok(format!(
        "schedule {} on {} nodes: {rate:.0}/s, p99 {:.3} ms{promised}",
        case.name,
        case.nodes,
        samples.percentile_ms(99.0),
    ))
}

/// No rule.
pub(super) fn plain() -> Value {
    json!({})
}

fn selector() -> Value {
    json!({"matchLabels": {"app": "web"}})
}

/// Each on a node of its own.
pub(super) fn apart() -> Value {
    json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": selector(), "topologyKey": "kubernetes.io/hostname"}]}}})
}

/// Evenly over zones.
pub(super) fn spread() -> Value {
    json!({"topologySpreadConstraints": [{"maxSkew": 1, "labelSelector": selector(),
        "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}]})
}

fn node(number: usize) -> anyhow::Result<Arc<Node>> {
    let name = format!("node-{number:06}");
    Ok(Arc::new(serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
            "topology.kubernetes.io/zone": format!("zone-{}", number % 10)}},
        "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"}},
    }))?))
}

/// A pod as a ReplicaSet makes it: upstream's default spread counts it with its siblings.
fn pod(number: usize, more: Value) -> anyhow::Result<Arc<Pod>> {
    let name = format!("web-{number:06}");
    let mut spec = json!({
        "schedulerName": coracle_scheduler::SCHEDULER_NAME_DEFAULT,
        "containers": [{"name": "web", "image": "registry.coracle.internal/web:1",
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}],
    });
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    Ok(Arc::new(serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web",
                "uid": "web", "controller": true}]},
        "spec": spec,
    }))?))
}
