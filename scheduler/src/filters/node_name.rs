//! A pod that names its node goes nowhere else.

use super::{Cause, Refusal};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;
use crate::pod_info::node_name;

pub(super) fn check(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    let pod = cycle.pod;
    match node_name(&pod.pod) {
        Some(name) if name != node.name() => {
            Refusal::final_one(Cause::NodeName, "node(s) didn't match the requested node name")
        }
        Some(_) | None => None,
    }
}
