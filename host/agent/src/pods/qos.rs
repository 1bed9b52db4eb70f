//! The quality-of-service class of a pod.
//!
//! *Source:* `ComputePodQOS` of the Kubernetes API helpers: cpu and memory of the pod as a whole where it has some
//! (KEP-2837), else of init and app containers alike.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const CONSIDERED: [&str; 2] = ["cpu", "memory"];

/// Gives `Guaranteed`, `Burstable` or `BestEffort`.
#[must_use]
pub fn class(spec: &PodSpec) -> &'static str {
    let all: Vec<Option<&ResourceRequirements>> = match &spec.resources {
        Some(own) if is_set(&own.requests) || is_set(&own.limits) => vec![Some(own)],
        Some(_) | None => spec
            .init_containers
            .iter()
            .flatten()
            .chain(spec.containers.iter().filter(|container| !is_ephemeral(spec, &container.name)))
            .map(|container| container.resources.as_ref())
            .collect(),
    };
    let any = all.iter().flatten().any(|needs| {
        CONSIDERED.iter().any(|name| {
            quantity(needs.requests.as_ref(), name).is_some()
                || quantity(needs.limits.as_ref(), name).is_some()
        })
    });
    if !any {
        return "BestEffort";
    }
    let guaranteed = all.iter().all(|needs| needs.is_some_and(is_guaranteed));
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

fn is_set(list: &Option<BTreeMap<String, Quantity>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

/// Ephemeral containers have no resources, and change no class.
fn is_ephemeral(spec: &PodSpec, name: &str) -> bool {
    super::plan::ephemeral(spec).any(|known| known == name)
}

fn is_guaranteed(needs: &ResourceRequirements) -> bool {
    CONSIDERED.iter().all(|name| {
        let limit = quantity(needs.limits.as_ref(), name);
        let request = quantity(needs.requests.as_ref(), name).or(limit);
        limit.is_some() && request == limit
    })
}

fn quantity<'a>(list: Option<&'a BTreeMap<String, Quantity>>, name: &str) -> Option<&'a Quantity> {
    list?.get(name).filter(|quantity| quantity.0 != "0")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_pods_own_resources_come_before_those_of_its_containers() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let check = |own: Value, container: &Value, expected: &str| {
            let spec =
                json!({"resources": &own, "containers": [{"name": "c", "resources": container}]});
            assert_eq!(class(&serde_json::from_value(spec).unwrap()), expected, "{own}");
        };
        check(Value::Null, &full, "Guaranteed");
        check(json!({}), &full, "Guaranteed");
        check(full.clone(), &json!({}), "Guaranteed");
        check(json!({"requests": {"cpu": "1"}}), &full, "Burstable");
        check(Value::Null, &json!({}), "BestEffort");
    }
}
