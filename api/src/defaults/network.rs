//! Endpoints, IngressClasses and NetworkPolicies.

use serde_json::{Value, json};

use super::fill::{fill, fill_pointer, inside, items};

/// Fills Endpoints: their ports are TCP.
pub fn set_endpoints(endpoints: &mut Value) {
    let Some(endpoints) = endpoints.as_object_mut() else { return };
    for subset in items(endpoints, "subsets") {
        items(subset, "ports").for_each(|port| fill(port, "protocol", "TCP"));
    }
}

/// Fills an IngressClass: its parameters are not in a namespace.
pub fn set_ingress_class(class: &mut Value) {
    let spec = class.get_mut("spec").and_then(Value::as_object_mut);
    if let Some(parameters) = spec.and_then(|spec| inside(spec, "parameters")) {
        fill_pointer(parameters, "scope", "Cluster");
    }
}

/// Fills a NetworkPolicy: it is about what comes in, and about what goes out when it says so.
pub fn set_policy(policy: &mut Value) {
    let Some(spec) = policy.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for direction in ["ingress", "egress"] {
        for rule in items(spec, direction) {
            items(rule, "ports").for_each(|port| fill_pointer(port, "protocol", "TCP"));
        }
    }
    let said = |spec: &super::fill::Members, name: &str| {
        spec.get(name).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
    };
    if !said(spec, "policyTypes") {
        let types =
            if said(spec, "egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        spec.insert("policyTypes".to_owned(), types);
    }
}
