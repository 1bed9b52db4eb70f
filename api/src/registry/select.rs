//! What field selectors may name for each kind, beyond the object's name and namespace.
//!
//! *Source:* the `SelectableFields` and `AddFieldLabelConversionFunc` of each resource upstream.

use std::borrow::Cow;

use serde_json::Value;

/// Labels of events.
pub const EVENT: &[&str] = &[
    "involvedObject.apiVersion",
    "involvedObject.fieldPath",
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.resourceVersion",
    "involvedObject.uid",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// Labels of namespaces.
pub const NAMESPACE: &[&str] = &["status.phase"];

/// Labels of nodes.
pub const NODE: &[&str] = &["spec.unschedulable"];

/// Labels of pods.
pub const POD: &[&str] = &[
    "spec.hostNetwork",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.nominatedNodeName",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

/// Labels of secrets.
pub const SECRET: &[&str] = &["type"];

/// Labels of services.
pub const SERVICE: &[&str] = &["spec.clusterIP", "spec.type"];

/// Labels of ReplicaSets and ReplicationControllers.
pub const REPLICAS: &[&str] = &["status.replicas"];

/// Labels of Jobs.
pub const JOB: &[&str] = &["status.successful"];

/// Labels of CertificateSigningRequests.
pub const SIGNING_REQUEST: &[&str] = &["spec.signerName"];

/// Labels of ResourceSlices.
pub const RESOURCE_SLICE: &[&str] = &["spec.driver", "spec.nodeName"];

/// Kinds without further labels.
pub fn none<'a>(_object: &'a Value, _label: &str) -> Option<Cow<'a, str>> {
    None
}

/// Reads a label of an event; `source` is the reporting component, whichever field has it.
pub fn event<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    if label == "source" {
        let old = text(object, "source.component");
        let new = text(object, "reportingComponent");
        return Some(if old.is_empty() { new } else { old });
    }
    EVENT.contains(&label).then(|| text(object, label))
}

/// Reads a label of a namespace.
pub fn namespace<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    NAMESPACE.contains(&label).then(|| text(object, label))
}

/// Reads a label of a node.
pub fn node<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    NODE.contains(&label).then(|| boolean(object, label))
}

/// Reads a label of a pod.
pub fn pod<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    match label {
        "spec.hostNetwork" => Some(boolean(object, label)),
        "status.podIPs" => Some(text(object, "status.podIP")),
        _ => POD.contains(&label).then(|| text(object, label)),
    }
}

/// Reads a label of a secret.
pub fn secret<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    SECRET.contains(&label).then(|| text(object, label))
}

/// Reads a label of a service.
pub fn service<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    SERVICE.contains(&label).then(|| text(object, label))
}

/// Reads any field by its path, as users' kinds select; numbers and truth values become text.
pub fn path<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    let found = find(object, label);
    let text = found.and_then(Value::as_str).map(Cow::Borrowed);
    let other = || match found {
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Cow::Owned(value.to_string()),
        Some(_) | None => Cow::Borrowed(""),
    };
    Some(text.unwrap_or_else(other))
}

/// Reads a label of a ReplicaSet or ReplicationController.
pub fn replicas<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    REPLICAS.contains(&label).then(|| count(object, label))
}

/// Reads a label of a Job: the number of pods that succeeded, under its older name.
pub fn job<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    JOB.contains(&label).then(|| count(object, "status.succeeded"))
}

/// Reads a label of a CertificateSigningRequest.
pub fn signing_request<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    SIGNING_REQUEST.contains(&label).then(|| text(object, label))
}

/// Reads a label of a ResourceSlice.
pub fn resource_slice<'a>(object: &'a Value, label: &str) -> Option<Cow<'a, str>> {
    RESOURCE_SLICE.contains(&label).then(|| text(object, label))
}

fn count<'a>(object: &'a Value, label: &str) -> Cow<'a, str> {
    let number = find(object, label).and_then(Value::as_i64).unwrap_or_default();
    Cow::Owned(number.to_string())
}

fn find<'a>(object: &'a Value, label: &str) -> Option<&'a Value> {
    label.split('.').try_fold(object, |value, part| value.get(part))
}

fn text<'a>(object: &'a Value, label: &str) -> Cow<'a, str> {
    Cow::Borrowed(find(object, label).and_then(Value::as_str).unwrap_or_default())
}

fn boolean<'a>(object: &'a Value, label: &str) -> Cow<'a, str> {
    let set = find(object, label).and_then(Value::as_bool).unwrap_or_default();
    Cow::Borrowed(if set { "true" } else { "false" })
}
