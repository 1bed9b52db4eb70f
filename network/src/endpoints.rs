//! One EndpointSlice as the table keeps it: addresses, ports and whether they may be used.

use std::net::IpAddr;

use coracle_vnet::Protocol;
use k8s_openapi::api::discovery::v1 as discovery;

/// The label that says which Service a slice belongs to. *Source:* discovery.k8s.io/v1.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// One address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod's address, or any address in a slice made by hand.
    pub ip: IpAddr,
    /// New connections may go here.
    pub ready: bool,
    /// The endpoint answers, whether or not it is terminating.
    pub serving: bool,
    /// The pod is being deleted.
    pub terminating: bool,
    /// The host name under a headless Service.
    pub hostname: Option<String>,
    /// The node that it is on, if it is a pod.
    pub node: Option<String>,
    /// The zones that are to use it; empty without hints.
    pub for_zones: Vec<String>,
    /// The nodes that are to use it; empty without hints.
    pub for_nodes: Vec<String>,
    ports: Vec<(String, u16, Protocol)>,
}

impl Endpoint {
    /// Its ports: name, number, protocol.
    pub fn ports(&self) -> impl Iterator<Item = (&str, u16, Protocol)> {
        self.ports.iter().map(|(name, number, protocol)| (name.as_str(), *number, *protocol))
    }

    /// The number of the endpoint's port with this name (empty for the only, unnamed one) and
    /// protocol.
    #[must_use]
    pub fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.ports
            .iter()
            .find(|(own, _, own_protocol)| own == name && *own_protocol == protocol)
            .map(|(_, number, _)| *number)
    }
}

/// The name of the Service that a slice belongs to.
#[must_use]
pub fn service_of(slice: &discovery::EndpointSlice) -> Option<&str> {
    slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL).map(String::as_str)
}

/// The endpoints of a slice. Addresses that are no IP (`addressType: FQDN`) are left out; a
/// condition that is not given counts as the API says: ready and serving true, terminating false.
#[must_use]
pub fn of_slice(slice: &discovery::EndpointSlice) -> Vec<Endpoint> {
    let ports: Vec<_> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let number = u16::try_from(port.port?).ok()?;
            let protocol = protocol(port.protocol.as_deref())?;
            Some((port.name.clone().unwrap_or_default(), number, protocol))
        })
        .collect();
    slice
        .endpoints
        .iter()
        .flat_map(|endpoint| {
            let ports = &ports;
            endpoint.addresses.iter().filter_map(|text| text.parse().ok()).map(move |ip| {
                let conditions = endpoint.conditions.as_ref();
                let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
                let hints = endpoint.hints.as_ref();
                let zones = hints.and_then(|hints| hints.for_zones.as_ref());
                let nodes = hints.and_then(|hints| hints.for_nodes.as_ref());
                Endpoint {
                    ip,
                    ready,
                    serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
                    terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
                    hostname: endpoint.hostname.clone(),
                    node: endpoint.node_name.clone(),
                    for_zones: zones.into_iter().flatten().map(|z| z.name.clone()).collect(),
                    for_nodes: nodes.into_iter().flatten().map(|n| n.name.clone()).collect(),
                    ports: ports.clone(),
                }
            })
        })
        .collect()
}

/// The protocol in the API's spelling: TCP if it is not given. SCTP has no Wasm equivalent, so a
/// port with it (or with anything else) is left out: `None`.
#[must_use]
pub fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text {
        None | Some("" | "TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}
