//! Labels that the pod asks of its node: `nodeSelector` and required node affinity.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use super::{Cause, Refusal};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) fn check(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    if allows(cycle.pod, node) {
        return None;
    }
    Refusal::final_one(Cause::Affinity, "node(s) didn't match Pod's node affinity/selector")
}

/// Tells whether a pod requires anything of its node's labels.
pub(crate) fn restricts(pod: &PodInfo) -> bool {
    pod.spec().is_some_and(|spec| {
        let affinity = spec.affinity.as_ref().and_then(|all| all.node_affinity.as_ref());
        spec.node_selector.as_ref().is_some_and(|labels| !labels.is_empty()) || affinity.is_some()
    })
}

/// Tells whether a node has every label that a pod requires of its node.
pub(crate) fn allows(pod: &PodInfo, node: &NodeInfo) -> bool {
    pod.spec()
        .is_none_or(|spec| selector_matches(spec, node) && required_affinity_matches(spec, node))
}

fn selector_matches(spec: &PodSpec, node: &NodeInfo) -> bool {
    spec.node_selector.iter().flatten().all(|(key, value)| node.label(key) == Some(value))
}

/// One term must match; a list without terms matches nothing.
fn required_affinity_matches(spec: &PodSpec, node: &NodeInfo) -> bool {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| {
        required.node_selector_terms.iter().any(|term| term_matches(term, node))
    })
}

/// Tells whether a node fulfils every requirement of a term; an empty term matches nothing.
pub(crate) fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let field = |key: &str| (key == "metadata.name").then(|| node.name());
    expressions.iter().all(|wanted| matches(wanted, node.label(&wanted.key)))
        && fields.iter().all(|wanted| matches(wanted, field(&wanted.key)))
}

fn matches(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|item| item == value));
    let number = |text: &str| text.parse::<i64>().ok();
    let compared = |holds: fn(i64, i64) -> bool| {
        let bound = values.first().and_then(|text| number(text));
        matches!((value.and_then(number), bound), (Some(value), Some(bound)) if holds(value, bound))
    };
    match wanted.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(|value, bound| value > bound),
        "Lt" => compared(|value, bound| value < bound),
        _ => false,
    }
}
