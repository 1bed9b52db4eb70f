//! In which order pods go when there are too many.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::objects::{annotation, is_active, is_ready, phase, ready_since};

/// Annotation by which a user says which pods to delete first (lower goes first).
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Orders pods by how little is lost with them, least first.
///
/// *Source:* Kubernetes docs, "ReplicaSet: Scaling down", in full: unscheduled, pending, not ready,
/// cheaper, more of the same on the node, ready for less time (by powers of two), more restarts,
/// younger.
pub(crate) fn by_loss(
    mut pods: Vec<Arc<Pod>>,
    related: &[Arc<Pod>],
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let mut per_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| is_active(pod)) {
        *per_node.entry(node(pod)).or_default() += 1;
    }
    let neighbours = |pod: &Arc<Pod>| per_node.get(node(pod)).copied().unwrap_or(0);
    pods.sort_by(|a, b| compare(a, b, neighbours(a), neighbours(b), now));
    pods
}

fn compare(a: &Pod, b: &Pod, near_a: usize, near_b: usize, now: Timestamp) -> Ordering {
    let first = |pod: &Pod| (!node(pod).is_empty(), phase_rank(pod), is_ready(pod), cost(pod));
    first(a)
        .cmp(&first(b))
        .then_with(|| near_b.cmp(&near_a))
        .then_with(|| age_bucket(ready_since(a), now).cmp(&age_bucket(ready_since(b), now)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| age_bucket(created(a), now).cmp(&age_bucket(created(b), now)))
        .then_with(|| Reverse(&a.metadata.name).cmp(&Reverse(&b.metadata.name)))
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn phase_rank(pod: &Pod) -> u8 {
    match phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

fn cost(pod: &Pod) -> i32 {
    annotation(&pod.metadata, DELETION_COST).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// Gives the age as the power of two of its seconds, so that near ages count as equal.
fn age_bucket(since: Option<Timestamp>, now: Timestamp) -> u32 {
    let seconds = since.map_or(0, |since| now.duration_since(since).as_secs().max(0));
    u64::BITS - seconds.unsigned_abs().leading_zeros()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
}
