//! A pod's runtime class says where it may run and what it costs beside its containers.
//!
//! *Source:* the `RuntimeClass` admission plugin; Kubernetes, "Runtime Class", "Pod Overhead".

use super::{Operation, Request};
use crate::cache::Caches;
use coracle_api::status::Status;
use serde_json::{Map, Value, json};

/// Gives a new pod the overhead, node selector and tolerations of its class.
///
/// # Errors
/// 403 when there is no such class, or the pod says something else.
pub(super) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    caches: &Caches,
) -> Result<(), Status> {
    if !request.is_core("Pod") || request.operation != Operation::Create {
        return Ok(());
    }
    let spec = &mut object["spec"];
    let name = spec["runtimeClassName"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        if spec["overhead"].as_object().is_some_and(|overhead| !overhead.is_empty()) {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(request.forbidden(why));
        }
        return Ok(());
    }
    let class = caches.get("node.k8s.io", "runtimeclasses", "", &name).ok_or_else(|| {
        request.forbidden(format!("pod rejected: RuntimeClass {name:?} not found"))
    })?;
    let class = class.value();
    set_overhead(request, spec, &class["overhead"]["podFixed"])?;
    set_scheduling(request, spec, &class["scheduling"])
}

fn set_overhead(request: &Request<'_>, spec: &mut Value, overhead: &Value) -> Result<(), Status> {
    let Some(fixed) = overhead.as_object().filter(|fixed| !fixed.is_empty()) else { return Ok(()) };
    let own = spec["overhead"].as_object().filter(|own| !own.is_empty());
    if own.is_some_and(|own| own != fixed) {
        let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
        return Err(request.forbidden(why));
    }
    spec["overhead"] = overhead.clone();
    Ok(())
}

fn set_scheduling(
    request: &Request<'_>,
    spec: &mut Value,
    scheduling: &Value,
) -> Result<(), Status> {
    if let Some(selector) = scheduling["nodeSelector"].as_object() {
        let mut own = spec["nodeSelector"].as_object().cloned().unwrap_or_else(Map::new);
        for (key, value) in selector {
            if own.get(key).is_some_and(|other| other != value) {
                let why = format!(
                    "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {}",
                    own.get(key).unwrap_or(&Value::Null)
                );
                return Err(request.forbidden(why));
            }
            own.insert(key.clone(), value.clone());
        }
        spec["nodeSelector"] = Value::Object(own);
    }
    let more = scheduling["tolerations"].as_array().cloned().unwrap_or_default();
    if !more.is_empty() {
        if !spec["tolerations"].is_array() {
            spec["tolerations"] = json!([]);
        }
        if let Some(own) = spec["tolerations"].as_array_mut() {
            let fresh: Vec<Value> = more.into_iter().filter(|item| !own.contains(item)).collect();
            own.extend(fresh);
        }
    }
    Ok(())
}
