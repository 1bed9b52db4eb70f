//! New nodes wait until they are ready, and a node writes only about itself.
//!
//! *Source:* the `TaintNodesByCondition` and `NodeRestriction` admission plugins. The taint is taken away by the node
//! controller once the node's Ready condition is true.

use super::{Operation, Request, spec_mut};
use coracle_api::meta;
use coracle_api::status::Status;
use serde_json::{Value, json};

/// The taint of a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Checks what a node writes, and taints new nodes.
pub(super) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if let Some(node) = request.user.node() {
        restrict(request, node, object, old)?;
    }
    if request.is_core("Node") && request.operation == Operation::Create {
        taint(object);
    }
    Ok(())
}

/// A node deletes only pods that are its own.
pub(super) fn admit_delete(request: &Request<'_>, old: Option<&Value>) -> Result<(), Status> {
    match request.user.node() {
        Some(node) if request.is_core("Pod") => own_pod(request, node, old),
        Some(_) | None => Ok(()),
    }
}

fn restrict(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let name = meta::name(object);
    match (request.kind.group, request.kind.kind) {
        ("", "Node") if name != node => {
            Err(request
                .forbidden(format!("node \"{node}\" is not allowed to modify node \"{name}\"")))
        }
        ("", "Node") => own_taints(request, node, object, old),
        ("coordination.k8s.io", "Lease") if name != node => Err(request.forbidden(format!(
            "node \"{node}\" can only access a lease with the same name as the requesting node"
        ))),
        ("", "Pod") => own_pod(request, node, old),
        _ => Ok(()),
    }
}

/// A node does not lift its own taints: that is how it is kept from pods that it should not have.
fn own_taints(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let taints = |node: &Value| node.pointer("/spec/taints").cloned().unwrap_or_default();
    match old {
        Some(old) if request.subresource.is_empty() && taints(old) != taints(object) => {
            Err(request.forbidden(format!("node \"{node}\" is not allowed to modify taints")))
        }
        Some(_) | None => Ok(()),
    }
}

fn own_pod(request: &Request<'_>, node: &str, old: Option<&Value>) -> Result<(), Status> {
    let bound = old.and_then(|pod| pod.pointer("/spec/nodeName")).and_then(Value::as_str);
    if bound == Some(node) {
        return Ok(());
    }
    let name = request.name;
    Err(request.forbidden(format!(
        "node \"{node}\" can only write pod \"{name}\" when it is bound to that node"
    )))
}

fn taint(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    let taints = spec.entry("taints").or_insert(Value::Null);
    if taints.is_null() {
        *taints = json!([]);
    }
    let Some(taints) = taints.as_array_mut() else { return };
    let is_not_ready = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
    if !taints.iter().any(is_not_ready) {
        taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
}
