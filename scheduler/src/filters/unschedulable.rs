//! A cordoned node takes only pods that tolerate just that.

use k8s_openapi::api::core::v1::Taint;

use super::{Cause, Refusal, tolerates};
use crate::pod_info::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) fn check(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
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
