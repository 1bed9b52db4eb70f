//! What a pod contributes to a Service: addresses, conditions, ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::objects::{is_deleting, is_ready, is_terminal, name, namespace};

/// Says whether two states of a pod differ in anything that an endpoint tells.
pub fn matters(old: &Pod, new: &Pod) -> bool {
    let ports = |pod: &Pod| pod.spec.as_ref().map(|spec| spec.containers.len());
    let told = |pod: &Pod| {
        (is_ready(pod), is_terminal(pod), is_deleting(&pod.metadata), addresses(pod), node(pod))
    };
    told(old) != told(new)
        || old.metadata.uid != new.metadata.uid
        || old.metadata.labels != new.metadata.labels
        || ports(old) != ports(new)
}

fn node(pod: &Pod) -> Option<String> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty())
}

fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let several = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut all: Vec<IpAddr> =
        several.chain(status.pod_ip.as_deref()).filter_map(|ip| ip.parse().ok()).collect();
    let mut seen = Vec::new();
    all.retain(|ip| {
        !seen.contains(ip) && {
            seen.push(*ip);
            true
        }
    });
    all
}

/// Gives a pod's endpoint in one address family; `None` for a pod that has ended or no address.
/// `zones`: of nodes, by name.
///
/// *Source:* Kubernetes docs, "EndpointSlices: Conditions".
pub(super) fn endpoint(
    service: &Service,
    pod: &Pod,
    ipv6: bool,
    zones: &BTreeMap<String, String>,
) -> Option<Endpoint> {
    if is_terminal(pod) {
        return None;
    }
    let address = addresses(pod).into_iter().find(|ip| ip.is_ipv6() == ipv6)?;
    let spec = service.spec.as_ref();
    let publish = spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let serving = is_ready(pod);
    let terminating = is_deleting(&pod.metadata);
    let ready = publish || (serving && !terminating);
    let node_name = node(pod);
    let zone = node_name.as_ref().and_then(|node| zones.get(node)).cloned();
    Some(Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        hints: if ready { hints(service, node_name.as_deref(), zone.as_deref()) } else { None },
        node_name,
        zone,
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace(&pod.metadata).to_owned()),
            name: Some(name(&pod.metadata).to_owned()),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

/// Which clients are to use an endpoint, by the Service's `trafficDistribution`; `None` for all.
///
/// *Source:* KEP-4444 and KEP-3015.
fn hints(service: &Service, node: Option<&str>, zone: Option<&str>) -> Option<EndpointHints> {
    let wanted = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.to_owned() }]);
    let for_nodes = node.map(|node| vec![ForNode { name: node.to_owned() }]);
    let hints = match wanted {
        "PreferClose" | "PreferSameZone" => EndpointHints { for_zones, for_nodes: None },
        "PreferSameNode" => EndpointHints { for_zones, for_nodes },
        _unknown => return None,
    };
    let any = hints.for_zones.is_some() || hints.for_nodes.is_some();
    any.then_some(hints)
}

/// A pod has a name of its own in a Service that is its `subdomain`.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let inside = spec.subdomain.as_deref() == Some(name(&service.metadata));
    spec.hostname.clone().filter(|hostname| inside && !hostname.is_empty())
}

/// Gives the ports of a Service as this pod has them; one whose named target it lacks is left out.
pub(super) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let all = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    all.filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target(port, pod)?),
            protocol: Some(protocol(port.protocol.as_deref()).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    })
    .collect()
}

fn protocol(protocol: Option<&str>) -> &str {
    protocol.filter(|protocol| !protocol.is_empty()).unwrap_or("TCP")
}

fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(text)) => {
            named(pod, text, protocol(port.protocol.as_deref())).or_else(|| text.parse().ok())
        }
    }
}

fn named(pod: &Pod, wanted: &str, wanted_protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let side_car = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let side_cars = spec.init_containers.iter().flatten().filter(side_car);
    let ports = spec.containers.iter().chain(side_cars).flat_map(|c| c.ports.iter().flatten());
    ports
        .filter(|port| port.name.as_deref() == Some(wanted))
        .find(|port| protocol(port.protocol.as_deref()) == wanted_protocol)
        .map(|port| port.container_port)
}
