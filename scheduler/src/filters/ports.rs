//! A port of the host goes to one pod only.

use coracle_api::fit::Lack;

use super::{Cause, Refusal};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;

pub(super) fn check(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    let pod = cycle.pod;
    if pod.request.host_ports.is_empty() {
        return None;
    }
    let lacks = coracle_api::fit::fits(&pod.request, &node.state);
    lacks.contains(&Lack::PortsInUse).then(|| Refusal {
        cause: Cause::Ports,
        reasons: vec![Lack::PortsInUse.to_string().into()],
        preemption_may_help: true,
    })
}
