//! Pods: their first status, their quality of service, and what their status may change.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{keep_everything_but, with_generation};
use crate::quantity::Quantity;

/// Starts pending with the quality of service that the resources give.
pub fn create(object: &mut Value) {
    with_generation::create_without_status(object);
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(object)});
    let gates = object.pointer("/spec/schedulingGates").and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    if let Some(fields) = object.as_object_mut() {
        fields.insert("status".to_owned(), status);
    }
}

/// Takes status and metadata of an update of the status subresource; the quality of service stays.
pub fn update_status(new: &mut Value, old: &Value) {
    keep_everything_but(new, old, &["status", "metadata"]);
    for field in ["ownerReferences", "deletionTimestamp", "generation"] {
        super::copy_member(new, old, "metadata", field);
    }
    if let (Some(status), Some(class)) = (
        new.get_mut("status").and_then(Value::as_object_mut),
        old.pointer("/status/qosClass").cloned(),
    ) {
        status.insert("qosClass".to_owned(), class);
    }
}

/// Takes the ephemeral containers of an update of `ephemeralcontainers`; all else stays.
pub fn update_ephemeral_containers(new: &mut Value, old: &Value) {
    let list = new["spec"]["ephemeralContainers"].take();
    *new = old.clone();
    if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        if list.as_array().is_some_and(|list| !list.is_empty()) {
            spec.insert("ephemeralContainers".to_owned(), list);
        } else {
            spec.remove("ephemeralContainers");
        }
    }
    with_generation::update(new, old);
}

/// Returns the seconds between a delete and the end: `spec.terminationGracePeriodSeconds`, but none
/// for a pod that no node runs or that has ended.
pub fn grace_period_seconds(object: &Value) -> i64 {
    let phase = object.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    let node = object.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() || phase == "Failed" || phase == "Succeeded" {
        return 0;
    }
    object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30)
}

/// Returns `Guaranteed`, `Burstable` or `BestEffort`: by the resources of the pod as a whole where it has some, else by
/// those of its containers.
///
/// *Source:* Kubernetes documentation, "Pod Quality of Service Classes"; KEP-2837.
pub fn qos_class(object: &Value) -> &'static str {
    let mut requests = BTreeMap::new();
    let mut limits = BTreeMap::new();
    let mut guaranteed = true;
    let own = object.pointer("/spec/resources").filter(|own| {
        let is_set = |list: &Value| list.as_object().is_some_and(|list| !list.is_empty());
        ["requests", "limits"].into_iter().any(|list| own.get(list).is_some_and(is_set))
    });
    if let Some(own) = own {
        add(&mut requests, own.get("requests"));
        guaranteed = add(&mut limits, own.get("limits")) == COMPUTE.len();
    }
    for container in containers(object).filter(|_| own.is_none()) {
        add(&mut requests, container.pointer("/resources/requests"));
        let limited = add(&mut limits, container.pointer("/resources/limits"));
        guaranteed &= limited == COMPUTE.len();
    }
    if requests.is_empty() && limits.is_empty() {
        return "BestEffort";
    }
    if guaranteed && requests == limits { "Guaranteed" } else { "Burstable" }
}

/// Resources that decide the quality of service.
const COMPUTE: [&str; 2] = ["cpu", "memory"];

fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    ["/spec/initContainers", "/spec/containers"]
        .into_iter()
        .filter_map(|path| object.pointer(path).and_then(Value::as_array))
        .flatten()
}

/// Adds up positive amounts and returns how many resources had one.
fn add(sum: &mut BTreeMap<&'static str, i128>, amounts: Option<&Value>) -> usize {
    let mut found = 0;
    for name in COMPUTE {
        let Some(amount) = amounts.and_then(|amounts| amounts.get(name)).and_then(milli) else {
            continue;
        };
        if amount > 0 {
            *sum.entry(name).or_default() += amount;
            found += 1;
        }
    }
    found
}

fn milli(amount: &Value) -> Option<i128> {
    let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
    text.parse::<Quantity>().ok().map(|quantity| i128::from(quantity.milli_value()))
}
