//! Required affinity and anti-affinity between pods.
//! *Source:* `pkg/scheduler/framework/plugins/interpodaffinity`.

use super::{Cause, Refusal};
use crate::cycle::{Cycle, Places};
use crate::node_info::NodeInfo;

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
    let there =
        |(places, value): (&Places<'_>, &&str)| places.get(*value).is_some_and(|count| *count > 0);
    if cycle.near.iter().zip(&values).all(there) {
        return true;
    }
    let nobody = cycle.near.iter().all(|places| places.values().all(|count| *count <= 0));
    let namespaces = &cycle.snapshot.namespaces;
    nobody && terms.iter().all(|term| term.matches(&cycle.pod.pod, namespaces))
}

fn is_apart(cycle: &Cycle<'_>, node: &NodeInfo) -> bool {
    let terms = cycle.pod.terms.anti_affinity.iter();
    terms.zip(&cycle.apart).all(|(term, places)| {
        let here = node.label(&term.topology_key).and_then(|value| places.get(value));
        here.is_none_or(|count| *count <= 0)
    })
}

fn is_refused(cycle: &Cycle<'_>, node: &NodeInfo) -> bool {
    cycle.refused.iter().any(|(key, places)| {
        let here = node.label(key).and_then(|value| places.get(value));
        here.is_some_and(|count| *count > 0)
    })
}
