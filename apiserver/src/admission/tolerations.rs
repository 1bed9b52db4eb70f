//! Pods outlive their node's absence by five minutes, unless they say otherwise.
//!
//! *Source:* the `DefaultTolerationSeconds` admission plugin.

use super::{Operation, Request, spec_mut};
use serde_json::{Value, json};

/// The taints of a node that is gone or ill.
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// How long a pod stays bound to such a node.
const SECONDS: i64 = 300;

/// Adds the tolerations that a pod does not have.
pub(super) fn admit(request: &Request<'_>, object: &mut Value) {
    if !request.is_core("Pod") || request.operation == Operation::Delete {
        return;
    }
    let Some(spec) = spec_mut(object) else { return };
    let tolerations = spec.entry("tolerations").or_insert(Value::Null);
    if tolerations.is_null() {
        *tolerations = json!([]);
    }
    let Some(tolerations) = tolerations.as_array_mut() else { return };
    for taint in TAINTS {
        if !tolerations.iter().any(|toleration| tolerates(toleration, taint)) {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
            }));
        }
    }
}

/// Whether a toleration is about the taint's key and about eviction.
fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |field: &str| toleration.get(field).and_then(Value::as_str).unwrap_or_default();
    let key = text("key");
    (key.is_empty() || key == taint) && matches!(text("effect"), "" | "NoExecute")
}
