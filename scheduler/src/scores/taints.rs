//! Prefers nodes whose `PreferNoSchedule` taints the pod tolerates.

use k8s_openapi::api::core::v1::Taint;

use super::{SCORE_MAX, stretched};
use crate::cycle::Cycle;
use crate::filters::tolerates;
use crate::node_info::NodeInfo;

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let pod = cycle.pod;
    let unwanted =
        |taint: &&Taint| taint.effect == "PreferNoSchedule" && !tolerates(pod.tolerations(), taint);
    let counts = nodes.iter().map(|node| node.taints().iter().filter(unwanted).count());
    let counts = counts.map(|count| i64::try_from(count).unwrap_or(SCORE_MAX)).collect();
    stretched(counts).into_iter().map(|count| SCORE_MAX - count).collect()
}
