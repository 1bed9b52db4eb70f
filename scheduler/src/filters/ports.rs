//! A port of the host goes to one pod only.

use coracle_api::fit::Lack;

use super::{Cause, Refusal};
use crate::pod_info::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) fn check(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
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
