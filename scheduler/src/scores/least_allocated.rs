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
    let known = parts.into_iter().filter(|(capacity, _)| *capacity > 0);
    let (sum, number) = known.fold((0, 0), |(sum, number), (capacity, requested)| {
        (sum + part(capacity, requested), number + 1)
    });
    if number == 0 { 0 } else { sum / number }
}

/// Gives the part that is left, in hundredths.
fn left(capacity: i64, requested: i64) -> i64 {
    if requested > capacity {
        return 0;
    }
    hundredths(capacity - requested, capacity)
}

/// Gives the part that would be used, in hundredths; more than there is counts as all of it.
fn used(capacity: i64, requested: i64) -> i64 {
    hundredths(requested.min(capacity), capacity)
}

/// Gives how many hundredths of a whole a part is; the whole is more than nothing.
fn hundredths(part: i64, whole: i64) -> i64 {
    if let Some(product) = part.checked_mul(SCORE_MAX) {
        return product / whole;
    }
    // A hundred times the bytes of the largest nodes do not fit 64 bits, with which it takes a third of the time.
    let hundredths = i128::from(part) * i128::from(SCORE_MAX) / i128::from(whole);
    i64::try_from(hundredths).unwrap_or(SCORE_MAX)
}
