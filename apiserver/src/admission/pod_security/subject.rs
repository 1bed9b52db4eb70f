//! The pod that a write is about: itself, or a workload's template.

use super::super::Request;
use serde_json::{Value, json};

/// The pod behind an object, with `metadata` and `spec`; `None` when there is none.
pub(in crate::admission) fn pod_of(request: &Request<'_>, object: &Value) -> Option<Value> {
    let template = match (request.kind.group, request.kind.kind) {
        ("", "Pod") if matches!(request.subresource, "" | "ephemeralcontainers") => {
            return Some(object.clone());
        }
        _ if !request.subresource.is_empty() => return None,
        ("", "PodTemplate") => object.get("template"),
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => object.pointer("/spec/template"),
        ("batch", "CronJob") => object.pointer("/spec/jobTemplate/spec/template"),
        _ => return None,
    };
    let template = template?;
    Some(json!({"metadata": template["metadata"], "spec": template["spec"]}))
}

/// Whether an update changes what the levels look at: an update of anything else is let through.
pub(super) fn matters(request: &Request<'_>, new: &Value, old: &Value) -> bool {
    let spec = |object: &Value| pod_of(request, object).map(|pod| pod["spec"].clone());
    spec(new) != spec(old)
}

/// Every container of a pod.
pub(in crate::admission) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.into_iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

/// A container's name.
pub(in crate::admission) fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

/// `container "a"`, or `containers "a", "b"`.
pub(super) fn named(noun: &str, names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{noun}{plural} {}", quoted.join(", "))
}

/// The names of the containers for which something holds.
pub(super) fn names_where(pod: &Value, holds: impl Fn(&Value) -> bool) -> Vec<&str> {
    containers(pod).filter(|container| holds(container)).map(name).collect()
}
