//! Labels of nodes that are out of use.
//!
//! *Source:* `k8s.io/kubernetes/pkg/api/node`.

use super::{items, text};
use serde_json::Value;

const LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// What is to be said of a label that is out of use.
pub(super) fn deprecated(label: &str) -> Option<&'static str> {
    LABELS.iter().find(|(own, _)| *own == label).map(|(_, why)| *why)
}

/// Looks at a map of labels; `keyed` puts the label into the path.
pub(super) fn selector(labels: &Value, path: &str, keyed: bool) -> Vec<String> {
    let labels = labels.as_object().into_iter().flatten();
    let told = labels.filter_map(|(label, _)| Some((label, deprecated(label)?)));
    told.map(
        |(label, why)| {
            if keyed { format!("{path}[{label}]: {why}") } else { format!("{path}: {why}") }
        },
    )
    .collect()
}

/// Looks at a term of a node selector.
pub(super) fn term(found: &mut Vec<String>, term: &Value, path: &str) {
    for (index, expression) in items(term, "matchExpressions") {
        let key = text(expression, "key");
        if let Some(why) = deprecated(key) {
            found.push(format!("{path}.matchExpressions[{index}].key: {key} is {why}"));
        }
    }
}
