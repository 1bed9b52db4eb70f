//! The quality-of-service class of a pod.
//!
//! *Source:* `ComputePodQOS` of the Kubernetes API helpers: cpu and memory of init and app
//! containers alike.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const CONSIDERED: [&str; 2] = ["cpu", "memory"];

/// Gives `Guaranteed`, `Burstable` or `BestEffort`.
#[must_use]
pub fn class(spec: &PodSpec) -> &'static str {
    let all: Vec<Option<&ResourceRequirements>> = spec
        .init_containers
        .iter()
        .flatten()
        .chain(spec.containers.iter().filter(|container| !is_ephemeral(spec, &container.name)))
        .map(|container| container.resources.as_ref())
        .collect();
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
