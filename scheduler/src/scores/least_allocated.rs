//! Prefers nodes with the most CPU and memory left, or with the least if the pod's profile packs.

use super::SCORE_MAX;
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, scheduler_name};
use crate::profile::Allocation;

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let pod = cycle.pod;
    let part = match cycle.snapshot.profiles.allocation(scheduler_name(&pod.pod)) {
        Allocation::Least => left,
        Allocation::Most => used,
    };
    nodes.iter().map(|node| score_of(pod, node, part)).collect()
}

fn score_of(pod: &PodInfo, node: &NodeInfo, part: fn(i64, i64) -> i64) -> i64 {
    let (capacity, taken, own) =
        (&node.state.capacity.resources, node.state.scoring, pod.request.scoring);
    let parts = [
        (capacity.cpu_millis, taken.cpu_millis.saturating_add(own.cpu_millis)),
        (capacity.memory_bytes, taken.memory_bytes.saturating_add(own.memory_bytes)),
    ];
    let known: Vec<i64> = parts
        .into_iter()
        .filter(|(capacity, _)| *capacity > 0)
        .map(|(capacity, requested)| part(capacity, requested))
        .collect();
    let number = i64::try_from(known.len()).unwrap_or(1).max(1);
    known.iter().sum::<i64>() / number
}

/// Gives the part that is left, in hundredths.
fn left(capacity: i64, requested: i64) -> i64 {
    if requested > capacity {
        return 0;
    }
    // 128 bits, because a hundred times the bytes of a large node do not fit 64.
    let left = i128::from(capacity - requested) * i128::from(SCORE_MAX) / i128::from(capacity);
    i64::try_from(left).unwrap_or(SCORE_MAX)
}

/// Gives the part that would be used, in hundredths; more than there is counts as all of it.
fn used(capacity: i64, requested: i64) -> i64 {
    let used = i128::from(requested.min(capacity)) * i128::from(SCORE_MAX) / i128::from(capacity);
    i64::try_from(used).unwrap_or(SCORE_MAX)
}
