//! From Endpoints that a user wrote to slices.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{ADDRESSES_MAX, Action, MIRROR, Observed, is_published, label};
use crate::endpointslice::{MANAGED_BY, SERVICE_NAME};
use crate::objects::{annotation, controller_reference, is_deleting, name};

/// Label by which a user keeps Endpoints from being mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation of Endpoints that are a lock and no addresses.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// Gives the slices that mirror the Endpoints of the name.
pub(super) fn mirrors(observed: &Observed) -> impl Iterator<Item = &Arc<EndpointSlice>> {
    observed.slices.iter().filter(|slice| label(&slice.metadata, MANAGED_BY) == Some(MIRROR))
}

/// Gives the writes that make the mirrors tell what the Endpoints tell.
///
/// *Source:* Kubernetes docs, "EndpointSlices: EndpointSlice mirroring".
pub(super) fn mirror(service: &Service, observed: &Observed) -> Vec<Action> {
    let source = observed.endpoints.as_ref().filter(|endpoints| {
        let meta = &endpoints.metadata;
        let skipped = label(meta, SKIP) == Some("true") || annotation(meta, LEADER).is_some();
        !skipped && !is_deleting(meta) && !is_published(meta)
    });
    let wanted = source.map_or_else(Vec::new, |endpoints| slices(service, endpoints));
    let mut there: Vec<&Arc<EndpointSlice>> = mirrors(observed).collect();
    let same = |a: &EndpointSlice, b: &EndpointSlice| {
        a.address_type == b.address_type && a.ports == b.ports && a.endpoints == b.endpoints
    };
    let mut missing = Vec::new();
    for slice in wanted {
        match there.iter().position(|old| same(old, &slice)) {
            Some(at) => drop(there.remove(at)),
            None => missing.push(slice),
        }
    }
    let mut actions = Vec::new();
    for slice in missing {
        match there.iter().position(|old| old.address_type == slice.address_type) {
            Some(at) => {
                let mut new = EndpointSlice::clone(there.remove(at));
                new.ports = slice.ports;
                new.endpoints = slice.endpoints;
                actions.push(Action::UpdateSlice(Box::new(new)));
            }
            None => actions.push(Action::CreateSlice(Box::new(slice))),
        }
    }
    actions.extend(there.into_iter().cloned().map(Action::DeleteSlice));
    actions
}

/// A slice for each subset and address family.
fn slices(service: &Service, endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut all = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        for family in ["IPv4", "IPv6"] {
            let members = members(subset, family);
            if !members.is_empty() {
                all.push(slice(service, endpoints, subset, family, members));
            }
        }
    }
    all
}

fn members(subset: &EndpointSubset, family: &str) -> Vec<Endpoint> {
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let waiting = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
    let fits = |address: &EndpointAddress| {
        let ip = address.ip.parse::<IpAddr>();
        ip.is_ok_and(|ip| if ip.is_ipv6() { family == "IPv6" } else { family == "IPv4" })
    };
    let fitting = ready.chain(waiting).filter(|(address, _)| fits(address));
    let endpoint = |(address, is_ready): (&EndpointAddress, bool)| Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(is_ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    };
    fitting.take(ADDRESSES_MAX).map(endpoint).collect()
}

fn slice(
    service: &Service,
    source: &Endpoints,
    subset: &EndpointSubset,
    family: &str,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let mut labels = source.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name(&service.metadata).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MIRROR.to_owned());
    let port = |port: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
        app_protocol: port.app_protocol.clone(),
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
    };
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(&service.metadata))),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(source)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints,
        ports: Some(subset.ports.iter().flatten().map(port).collect()),
    }
}
