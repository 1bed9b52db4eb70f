//! Required affinity and anti-affinity between pods.
//! *Source:* `pkg/scheduler/framework/plugins/interpodaffinity`.

use super::{Cause, Refusal};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;
use crate::places::Places;

pub(super) fn check(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    if !is_near(cycle, node) {
        return Refusal::final_one(Cause::PodAffinity, "node(s) didn't match pod affinity rules");
    }
    if !is_apart(cycle, node) {
        return refusal("node(s) didn't match pod anti-affinity rules");
    }
    if is_refused(cycle, node) {
        return refusal("node(s) didn't satisfy existing pods anti-affinity rules");
    }
    None
}

fn refusal(reason: &'static str) -> Option<Refusal> {
    Some(Refusal {
        cause: Cause::PodAffinity,
        reasons: vec![reason.into()],
        preemption_may_help: true,
    })
}

/// The first pod of a group that wants to be together may go anywhere that has the labels.
fn is_near(cycle: &Cycle<'_>, node: &NodeInfo) -> bool {
    let terms = &cycle.pod.terms.affinity;
    let labels: Option<Vec<&str>> =
        terms.iter().map(|term| node.label(&term.topology_key)).collect();
    let Some(values) = labels else { return false };
    if cycle.near.iter().zip(&values).all(|(places, value)| places.at(value) > 0) {
        return true;
    }
    let nobody = cycle.near.iter().all(Places::is_empty);
    let namespaces = &cycle.snapshot.namespaces;
    nobody && terms.iter().all(|term| term.matches(&cycle.pod.pod, namespaces))
}

fn is_apart(cycle: &Cycle<'_>, node: &NodeInfo) -> bool {
    let terms = cycle.pod.terms.anti_affinity.iter();
    terms.zip(&cycle.apart).all(|(term, places)| {
        node.label(&term.topology_key).is_none_or(|value| places.at(value) <= 0)
    })
}

fn is_refused(cycle: &Cycle<'_>, node: &NodeInfo) -> bool {
    cycle
        .refused
        .iter()
        .any(|(key, places)| node.label(key).is_some_and(|value| places.at(value) > 0))
}
