//! Which nodes a DaemonSet's pods fit, by name, labels and taints.

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration,
};

use crate::node::tolerates;
use crate::objects::name;

/// What a node is to a DaemonSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It runs a pod.
    Wanted,
    /// A pod that is there may stay, a new one does not come: a taint that only keeps away.
    Tolerated,
    /// No pod of it belongs there.
    Unwanted,
}

/// Says what a node is to pods of this spec, its tolerations completed.
///
/// *Source:* Kubernetes docs, "DaemonSet: How Daemon Pods are scheduled".
pub(super) fn fit(spec: &PodSpec, tolerations: &[Toleration], node: &Node) -> Fit {
    let named = spec.node_name.as_deref().filter(|name| !name.is_empty());
    if named.is_some_and(|named| named != name(&node.metadata)) || !selects(spec, node) {
        return Fit::Unwanted;
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let untolerated = taints
        .into_iter()
        .flatten()
        .filter(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)));
    let effects: Vec<&str> = untolerated.map(|taint| taint.effect.as_str()).collect();
    if effects.contains(&"NoExecute") {
        Fit::Unwanted
    } else if effects.contains(&"NoSchedule") {
        Fit::Tolerated
    } else {
        Fit::Wanted
    }
}

/// Says whether a pod of this spec may come to a node, whatever room there is: by labels and taints.
pub(crate) fn takes_pod(spec: &PodSpec, node: &Node) -> bool {
    let unbound = PodSpec { node_name: None, ..spec.clone() };
    fit(&unbound, spec.tolerations.as_deref().unwrap_or_default(), node) == Fit::Wanted
}

fn selects(spec: &PodSpec, node: &Node) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let mut wanted = spec.node_selector.iter().flatten();
    if !wanted.all(|(key, value)| label(key) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required
        .is_none_or(|required| required.node_selector_terms.iter().any(|term| takes(term, node)))
}

/// A term without requirements takes nothing.
fn takes(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let labels = node.metadata.labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let field = |key: &str| (key == "metadata.name").then(|| name(&node.metadata));
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|wanted| holds(wanted, label(&wanted.key)))
        && fields.iter().all(|wanted| holds(wanted, field(&wanted.key)))
}

/// *Source:* `NodeSelectorRequirement` in the API reference.
fn holds(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|other| other == value));
    let numbers = || {
        let bound: i64 = values.first()?.parse().ok()?;
        Some((value?.parse::<i64>().ok()?, bound))
    };
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, bound)| value > bound),
        "Lt" => numbers().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value, node: Value, expected: Fit) {
        let mut spec: PodSpec = serde_json::from_value(spec).unwrap();
        let tolerations = spec.tolerations.take().unwrap_or_default();
        let node: Node = serde_json::from_value(node).unwrap();
        assert_eq!(fit(&spec, &tolerations, &node), expected, "{spec:?} {node:?}");
    }

    #[test]
    fn names_labels_and_taints_decide() {
        let node = |taints: Value| {
            json!({"metadata": {"name": "a", "labels": {"disk": "ssd", "cores": "8"}},
                "spec": {"taints": taints}})
        };
        let spec = |extra: Value| {
            let mut spec = json!({"containers": []});
            spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            spec
        };
        let requires = |key: &str, operator: &str, values: Value| {
            spec(json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": key, "operator": operator, "values": values}]},
            ]}}}}))
        };
        let none = json!([]);
        check(spec(json!({})), node(none.clone()), Fit::Wanted);
        check(spec(json!({"nodeName": "b"})), node(none.clone()), Fit::Unwanted);
        check(spec(json!({"nodeSelector": {"disk": "ssd"}})), node(none.clone()), Fit::Wanted);
        check(spec(json!({"nodeSelector": {"disk": "hdd"}})), node(none.clone()), Fit::Unwanted);
        check(requires("disk", "In", json!(["ssd", "x"])), node(none.clone()), Fit::Wanted);
        check(requires("disk", "NotIn", json!(["ssd"])), node(none.clone()), Fit::Unwanted);
        check(requires("gpu", "DoesNotExist", json!([])), node(none.clone()), Fit::Wanted);
        check(requires("cores", "Gt", json!(["7"])), node(none.clone()), Fit::Wanted);
        check(requires("cores", "Lt", json!(["8"])), node(none.clone()), Fit::Unwanted);
        let taint = |effect: &str| json!([{"key": "k", "value": "v", "effect": effect}]);
        check(spec(json!({})), node(taint("NoSchedule")), Fit::Tolerated);
        check(spec(json!({})), node(taint("PreferNoSchedule")), Fit::Wanted);
        check(spec(json!({})), node(taint("NoExecute")), Fit::Unwanted);
        let tolerant = json!({"tolerations": [{"key": "k", "operator": "Exists"}]});
        check(spec(tolerant), node(taint("NoExecute")), Fit::Wanted);
    }
}
