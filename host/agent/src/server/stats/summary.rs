//! `/stats/summary`. Pure.
//!
//! *Source:* `k8s.io/kubelet/pkg/apis/stats/v1alpha1`; fields that are not measured are left out.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rates::Rated;
use super::sample::PodSample;
use crate::node::object::seconds;

/// Writes the summary.
pub(crate) fn summary(rated: &Rated) -> Value {
    let time = seconds(rated.sample.at);
    let node = &rated.sample.node;
    let available = node.memory_bytes_max.saturating_sub(node.memory_bytes);
    let pods: Vec<Value> = rated.sample.pods.iter().map(|one| pod(rated, one, &time)).collect();
    json!({
        "node": {
            "nodeName": rated.sample.node_name,
            "cpu": cpu(&time, rated.node, node.cpu_nanos),
            "memory": {
                "time": time, "availableBytes": available, "usageBytes": node.memory_bytes,
                "workingSetBytes": node.memory_bytes,
            },
        },
        "pods": pods,
        // Ours: over which time the rates were measured.
        "windowSeconds": rated.window_seconds,
    })
}

fn pod(rated: &Rated, pod: &PodSample, time: &str) -> Value {
    let mut rate = 0;
    let containers: Vec<Value> = pod
        .containers
        .iter()
        .map(|container| {
            let own = rated.container(&pod.uid, &container.name);
            rate += own;
            json!({
                "name": container.name,
                "startTime": started(container.started),
                "cpu": cpu(time, own, container.cpu_nanos),
                "memory": memory(time, container.memory_bytes),
            })
        })
        .collect();
    json!({
        "podRef": { "name": pod.name, "namespace": pod.namespace, "uid": pod.uid },
        "startTime": started(pod.started),
        "containers": containers,
        "cpu": cpu(time, rate, pod.cpu_nanos()),
        "memory": memory(time, pod.memory_bytes()),
        "network": network(time, pod),
    })
}

/// What the pod has sent and received over its only interface.
fn network(time: &str, pod: &PodSample) -> Value {
    let Some(counts) = pod.traffic else { return Value::Null };
    let (received, sent) = (counts.received_bytes, counts.sent_bytes);
    let interface = json!({ "name": "eth0", "rxBytes": received, "txBytes": sent });
    json!({
        "time": time, "name": "eth0", "rxBytes": received, "txBytes": sent,
        "interfaces": [interface],
    })
}

fn cpu(time: &str, nanocores: u64, nanoseconds: u64) -> Value {
    json!({ "time": time, "usageNanoCores": nanocores, "usageCoreNanoSeconds": nanoseconds })
}

fn memory(time: &str, bytes: u64) -> Value {
    json!({ "time": time, "usageBytes": bytes, "workingSetBytes": bytes, "rssBytes": bytes })
}

fn started(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| Value::from(seconds(at)))
}
