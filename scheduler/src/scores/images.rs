//! Prefers nodes that hold the pod's images already, and have compiled them.
//!
//! As upstream, an image counts by its size and by the part of the nodes that hold it, so that not
//! every pod goes to the one node which was first. The sizes are those of components: what upstream
//! calls small is large here, because it still has to be compiled.
//! *Source:* `pkg/scheduler/framework/plugins/imagelocality`.

use super::SCORE_MAX;
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;

/// Images below this, in bytes, are as good as there.
const SIZE_MIN: i64 = 64 * 1024;

/// More bytes than this in one container's image make no further difference.
const SIZE_MAX: i64 = 32 * 1024 * 1024;

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let spec = cycle.pod.spec();
    let containers = spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten().chain(spec.containers.iter()));
    let images: Vec<&str> = containers.filter_map(|one| one.image.as_deref()).collect();
    if images.is_empty() || images.iter().all(|name| cycle.snapshot.nodes_with_image(name) == 0) {
        return vec![];
    }
    nodes.iter().map(|node| score_of(cycle, &images, node)).collect()
}

fn score_of(cycle: &Cycle<'_>, images: &[&str], node: &NodeInfo) -> i64 {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let all = count(cycle.snapshot.nodes().len()).max(1);
    let bytes = |name: &&str| {
        let holders = count(cycle.snapshot.nodes_with_image(name));
        node.images.get(*name).map_or(0, |size| size.saturating_mul(holders) / all)
    };
    let sum: i64 = images.iter().map(bytes).sum();
    let most = SIZE_MAX.saturating_mul(count(images.len()));
    SCORE_MAX * (sum.clamp(SIZE_MIN, most) - SIZE_MIN) / (most - SIZE_MIN)
}
