//! What an object counts for against a ResourceQuota, and which quotas count it.
//!
//! Pure; asked when an object is let in and again when usage is counted anew, so that both always agree.
//! *Source:* Kubernetes, "Resource Quotas".

mod pod;
mod scope;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity::Quantity;

pub(crate) use pod::of_containers;
pub use scope::counts;

/// Amounts by the names of quotas' `spec.hard`: `pods`, `requests.cpu`, `count/deployments.apps`.
pub type Amounts = BTreeMap<String, Quantity>;

/// Core kinds that have a name of their own in quotas, besides `count/PLURAL`.
const COUNTED: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

/// Gives what an object counts for. `group` is empty for core, `plural` the resource's name.
pub fn usage(group: &str, plural: &str, object: &Value) -> Amounts {
    let mut out = Amounts::new();
    let one = Quantity::from_units(1, Default::default());
    let name = if group.is_empty() {
        format!("count/{plural}")
    } else {
        format!("count/{plural}.{group}")
    };
    out.insert(name, one);
    if !group.is_empty() {
        return out;
    }
    let has_ended = plural == "pods" && pod::has_ended(object);
    if COUNTED.contains(&plural) && !has_ended {
        out.insert(plural.to_owned(), one);
    }
    match plural {
        "pods" if !has_ended => pod::add(object, &mut out),
        "services" => add_service(object, &mut out),
        "persistentvolumeclaims" => add_claim(object, &mut out),
        _ => {}
    }
    out
}

/// Gives the names of `hard` that a pod must make a statement about, and which of its containers make none: `cpu` names
/// `requests.cpu`. Empty when all is said.
pub fn unstated(hard: &Amounts, object: &Value) -> Vec<(String, Vec<String>)> {
    pod::unstated(hard, object)
}

/// Reads a map of quantities; what is none is left out.
pub fn amounts(map: &Value) -> Amounts {
    let all = map.as_object().into_iter().flatten();
    all.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).collect()
}

/// Reads a quantity, written as text or as a number.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn add_service(object: &Value, out: &mut Amounts) {
    let spec = &object["spec"];
    let kind = spec["type"].as_str().unwrap_or_default();
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let allocates = spec["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true);
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if allocates => ports.len(),
        "LoadBalancer" => {
            ports.iter().filter(|port| port["nodePort"].as_i64().unwrap_or(0) > 0).count()
        }
        _ => 0,
    };
    let units = |count: usize| {
        Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX), Default::default())
    };
    out.insert("services.nodeports".to_owned(), units(node_ports));
    out.insert("services.loadbalancers".to_owned(), units(usize::from(kind == "LoadBalancer")));
}

fn add_claim(object: &Value, out: &mut Amounts) {
    let storage = quantity(&object["spec"]["resources"]["requests"]["storage"]);
    let class = object["spec"]["storageClassName"].as_str().unwrap_or_default();
    if !class.is_empty() {
        let prefix = format!("{class}.storageclass.storage.k8s.io");
        let one = Quantity::from_units(1, Default::default());
        out.insert(format!("{prefix}/persistentvolumeclaims"), one);
        if let Some(storage) = storage {
            out.insert(format!("{prefix}/requests.storage"), storage);
        }
    }
    if let Some(storage) = storage {
        out.insert("requests.storage".to_owned(), storage);
    }
}

#[cfg(test)]
mod tests;
