//! The node must have enough left of everything that the pod requests.

use coracle_api::fit::{Lack, fits};

use super::{Cause, Refusal};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;

pub(super) fn check(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    let pod = cycle.pod;
    let mut lacks = fits(&pod.request, &node.state);
    lacks.retain(|lack| *lack != Lack::PortsInUse);
    if lacks.is_empty() {
        return None;
    }
    // An empty node would not do either when the pod wants more than the node has at all.
    let beyond = |lack: &Lack| match lack {
        Lack::Insufficient { resource } => {
            pod.request.resources.get(resource) > node.state.capacity.resources.get(resource)
        }
        Lack::TooManyPods | Lack::PortsInUse => false,
    };
    Some(Refusal {
        cause: Cause::Resources,
        preemption_may_help: !lacks.iter().any(beyond),
        reasons: lacks.iter().map(|lack| lack.to_string().into()).collect(),
    })
}
