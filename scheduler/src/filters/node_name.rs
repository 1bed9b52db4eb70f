//! A pod that names its node goes nowhere else.

use super::{Cause, Refusal};
use crate::pod_info::{PodInfo, node_name};
use crate::snapshot::NodeInfo;

pub(super) fn check(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    match node_name(&pod.pod) {
        Some(name) if name != node.name() => {
            Refusal::final_one(Cause::NodeName, "node(s) didn't match the requested node name")
        }
        Some(_) | None => None,
    }
}
