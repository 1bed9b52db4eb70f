//! A taint keeps away every pod that does not tolerate it.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Taint, Toleration};

use super::{Cause, Refusal};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn check(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    if tolerates_binding(cycle.pod, node) {
        return None;
    }
    Refusal::final_one(Cause::Taints, "node(s) had untolerated taint(s)")
}

/// Tells whether a pod tolerates every taint of a node that keeps pods away.
pub(crate) fn tolerates_binding(pod: &PodInfo, node: &NodeInfo) -> bool {
    untolerated(pod, node).next().is_none()
}

/// Names every taint of a node that keeps a pod away, in the node's order; none when the node is open to the pod.
///
/// An event counts nodes, so its words are the same for every taint; where one node is told of, the taint is named.
/// *Source:* the message of `TaintToleration` with the taint in it, `{key: value}`.
pub(crate) fn named(pod: &PodInfo, node: &NodeInfo) -> Vec<Cow<'static, str>> {
    let words = |taint: &Taint| {
        format!("node(s) had untolerated taint {{{}: {}}}", taint.key, given(&taint.value))
    };
    untolerated(pod, node).map(|taint| Cow::Owned(words(taint))).collect()
}

fn untolerated<'a>(pod: &'a PodInfo, node: &'a NodeInfo) -> impl Iterator<Item = &'a Taint> {
    let binding = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    let taints = node.taints().iter().filter(binding);
    taints.filter(|taint| !tolerates(pod.tolerations(), taint))
}

/// Tells whether any of the tolerations covers a taint.
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| covers(toleration, taint))
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let (key, effect) = (given(&toleration.key), given(&toleration.effect));
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        // Without a key only `Exists` covers anything.
        "Equal" | "" => !key.is_empty() && given(&toleration.value) == given(&taint.value),
        _ => false,
    }
}

fn given(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}
