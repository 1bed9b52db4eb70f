//! A cordoned node takes only pods that tolerate just that.

use k8s_openapi::api::core::v1::Taint;

use super::{Cause, Refusal, tolerates};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;

pub(super) fn check(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    let pod = cycle.pod;
    if !node.is_unschedulable() {
        return None;
    }
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if tolerates(pod.tolerations(), &cordon) {
        return None;
    }
    Refusal::final_one(Cause::Unschedulable, "node(s) were unschedulable")
}
