//! From slices to Endpoints.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service,
};
use k8s_openapi::api::discovery::v1::{self as discovery, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{ADDRESSES_MAX, Action, Observed, PUBLISHED_BY, PUBLISHER, label};
use crate::endpointslice::{CONTROLLER, MANAGED_BY};

/// Annotation of Endpoints that do not hold all addresses.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Gives the write that makes the Endpoints of a Service tell what its slices tell.
///
/// *Source:* Kubernetes docs, "Endpoints"; they hold the Service's first address family alone.
pub(super) fn publish(service: &Service, observed: &Observed) -> Vec<Action> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone());
    let family = families.and_then(|all| all.first().cloned()).unwrap_or_else(|| "IPv4".into());
    let told = observed.slices.iter().filter(|slice| {
        label(&slice.metadata, MANAGED_BY) == Some(CONTROLLER) && slice.address_type == family
    });
    let slices: Vec<&EndpointSlice> = told.map(|slice| &**slice).collect();
    if slices.is_empty() {
        // They have not been made yet: what is not known is not absent.
        return Vec::new();
    }
    let (subsets, is_cut) = subsets(&slices);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(PUBLISHED_BY.to_owned(), PUBLISHER.to_owned());
    let cut = (OVER_CAPACITY.to_owned(), "truncated".to_owned());
    let annotations: BTreeMap<String, String> = is_cut.then_some(cut).into_iter().collect();
    let subsets = Some(subsets).filter(|all| !all.is_empty());
    let Some(there) = &observed.endpoints else {
        let metadata = ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations).filter(|all| !all.is_empty()),
            ..ObjectMeta::default()
        };
        return vec![Action::Create(Box::new(Endpoints { metadata, subsets }))];
    };
    let mut new = Endpoints::clone(there);
    new.metadata.labels = Some(labels);
    let kept = new.metadata.annotations.get_or_insert_default();
    kept.remove(OVER_CAPACITY);
    kept.extend(annotations);
    new.metadata.annotations = new.metadata.annotations.filter(|all| !all.is_empty());
    new.subsets = subsets;
    let mut old = Endpoints::clone(there);
    old.subsets = old.subsets.filter(|all| !all.is_empty());
    old.metadata.annotations = old.metadata.annotations.filter(|all| !all.is_empty());
    if new == old { Vec::new() } else { vec![Action::Update(Box::new(new))] }
}

/// Gives a subset for each set of ports, and whether addresses were cut off.
fn subsets(slices: &[&EndpointSlice]) -> (Vec<EndpointSubset>, bool) {
    let mut groups: Vec<(Vec<EndpointPort>, Vec<EndpointAddress>, Vec<EndpointAddress>)> =
        Vec::new();
    let (mut n, mut is_cut) = (0, false);
    for slice in slices {
        let ports: Vec<EndpointPort> = slice.ports.iter().flatten().map(port).collect();
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let is_ready = conditions.ready != Some(false);
            if !is_ready && conditions.terminating == Some(true) {
                continue;
            }
            if n >= ADDRESSES_MAX {
                is_cut = true;
                continue;
            }
            n += 1;
            let place = groups.iter().position(|(known, ..)| *known == ports);
            let place = place.unwrap_or_else(|| {
                groups.push((ports.clone(), Vec::new(), Vec::new()));
                groups.len() - 1
            });
            if let Some((_, ready, waiting)) = groups.get_mut(place) {
                if is_ready { ready } else { waiting }.extend(address(endpoint));
            }
        }
    }
    let some = |mut list: Vec<EndpointAddress>| {
        list.sort_by(|a, b| a.ip.cmp(&b.ip));
        Some(list).filter(|list| !list.is_empty())
    };
    let subset = |(ports, ready, waiting): (Vec<EndpointPort>, _, _)| EndpointSubset {
        addresses: some(ready),
        not_ready_addresses: some(waiting),
        ports: Some(ports).filter(|ports| !ports.is_empty()),
    };
    (groups.into_iter().map(subset).collect(), is_cut)
}

fn address(endpoint: &discovery::Endpoint) -> Option<EndpointAddress> {
    Some(EndpointAddress {
        ip: endpoint.addresses.first()?.clone(),
        hostname: endpoint.hostname.clone(),
        node_name: endpoint.node_name.clone(),
        target_ref: endpoint.target_ref.clone(),
    })
}

fn port(port: &discovery::EndpointPort) -> EndpointPort {
    EndpointPort {
        app_protocol: port.app_protocol.clone(),
        name: port.name.clone().filter(|name| !name.is_empty()),
        port: port.port.unwrap_or(0),
        protocol: port.protocol.clone(),
    }
}
