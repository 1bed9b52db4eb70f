//! Prefers nodes on which CPU and memory would be used to the same degree.

use super::SCORE_MAX;
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let pod = cycle.pod;
    let own = &pod.request.resources;
    if own.cpu_millis == 0 && own.memory_bytes == 0 {
        // A pod without requests changes no balance.
        return vec![0; nodes.len()];
    }
    nodes.iter().map(|node| score_of(pod, node)).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "fractions")]
fn score_of(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let (capacity, taken, own) =
        (&node.state.capacity.resources, &node.state.requested, &pod.request.resources);
    if capacity.cpu_millis == 0 || capacity.memory_bytes == 0 {
        return SCORE_MAX;
    }
    let fraction = |taken: i64, own: i64, capacity: i64| {
        (taken.saturating_add(own) as f64 / capacity as f64).min(1.0)
    };
    let cpu = fraction(taken.cpu_millis, own.cpu_millis, capacity.cpu_millis);
    let memory = fraction(taken.memory_bytes, own.memory_bytes, capacity.memory_bytes);
    let deviation = ((cpu - memory) / 2.0).abs();
    ((1.0 - deviation) * SCORE_MAX as f64) as i64
}
