//! The answers to a fabric's questions: where a flow goes, and what a name means.
//!
//! Comes in: the [`Table`], the pods' egress grants, and one question at a time. Goes out: a
//! [`Route`] or addresses. The decision is [`decide`], a pure function; this file only keeps the
//! state that it reads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use coracle_vnet::{Flow, NsTag, Protocol, Route};

use crate::cidr::Cidr;
use crate::egress::{self, Egress};
use crate::table::{ServiceKey, ServicePort, Table};

/// Outside addresses that a pod may remember from lookups of granted names; the oldest is
/// forgotten first. Bounds what a pod that looks up names in a loop costs.
pub const LOOKED_UP_MAX: usize = 256;

/// The Service of the API server, which every pod may reach though it is a real address.
const API_SERVICE: (&str, &str) = ("default", "kubernetes");

/// The port of that Service.
const API_SERVICE_PORT: u16 = 443;

/// Ranges and addresses that stay the same while a host runs.
#[derive(Debug, Clone)]
pub struct Ranges {
    /// Addresses of all pods of the cluster, a range for each family.
    pub pods: Vec<Cidr>,
    /// Addresses of all Services, a range for each family.
    pub services: Vec<Cidr>,
    /// The host's own real addresses, which no `*` grants.
    pub host: HashSet<IpAddr>,
}

impl Ranges {
    /// Whether the address is one that pods have.
    #[must_use]
    pub fn is_pod(&self, ip: IpAddr) -> bool {
        self.pods.iter().any(|range| range.contains(ip))
    }

    /// Whether the address is one that Services have.
    #[must_use]
    pub fn is_service(&self, ip: IpAddr) -> bool {
        self.services.iter().any(|range| range.contains(ip))
    }
}

/// What one pod may reach outside, and what it has looked up.
#[derive(Debug, Default)]
pub struct Grant {
    egress: Egress,
    looked_up: VecDeque<(IpAddr, Option<u16>)>,
}

impl Grant {
    /// A grant that nothing has been looked up under.
    #[must_use]
    pub fn new(egress: Egress) -> Self {
        Self { egress, looked_up: VecDeque::new() }
    }

    /// Whether `name` may be looked up, and the only port on which its addresses may be dialled.
    #[must_use]
    pub fn allows_name(&self, name: &str) -> Option<Option<u16>> {
        self.egress.allows_name(name)
    }

    /// Remembers the addresses of a granted name, so that they may be dialled on `port` (`None`:
    /// on any).
    pub fn remember(&mut self, addresses: &[IpAddr], port: Option<u16>) {
        for address in addresses {
            let entry = (*address, port);
            if !self.looked_up.contains(&entry) {
                if self.looked_up.len() == LOOKED_UP_MAX {
                    self.looked_up.pop_front();
                }
                self.looked_up.push_back(entry);
            }
        }
    }

    fn allows(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip(), address.port());
        let by_name = self
            .looked_up
            .iter()
            .any(|(granted, on)| *granted == ip && on.is_none_or(|on| on == port));
        self.egress.allows_address(ip, port) || (by_name && !egress::is_never_granted(ip))
    }
}

/// What [`decide`] looks at besides the flow.
#[derive(Debug)]
pub struct View<'a> {
    /// The Services.
    pub table: &'a Table,
    /// The fixed ranges.
    pub ranges: &'a Ranges,
    /// The grants by pod.
    pub grants: &'a HashMap<NsTag, Grant>,
    /// The addresses of this host at which its pods with the host's network are.
    pub machine: &'a HashSet<IpAddr>,
}

/// Where a flow goes. `pick` chooses among a Service port's backends, `None` if it has none.
pub fn decide(
    view: &View<'_>,
    flow: &Flow,
    pick: impl FnOnce(&ServicePort) -> Option<SocketAddr>,
) -> Route {
    let destination = flow.destination;
    if let Some(port) = view.table.port_at(destination, flow.protocol) {
        return match pick(&port) {
            Some(backend) => to_backend(view, flow, &port, backend),
            None => Route::Refused(format!(
                "Service {} has no ready endpoints for {destination}",
                port.service
            )),
        };
    }
    if let Some(service) = view.table.virtual_ip(destination.ip()) {
        let protocol = spelled(flow.protocol);
        return Route::Refused(format!(
            "Service {service} has no {protocol} port {}",
            destination.port()
        ));
    }
    if view.ranges.is_pod(destination.ip()) {
        return Route::Pod(destination);
    }
    if view.ranges.is_service(destination.ip()) {
        return Route::Refused(format!("no Service has the address {}", destination.ip()));
    }
    if is_api_server(view, flow, destination) {
        return Route::Real(destination);
    }
    if view.machine.contains(&destination.ip()) {
        return Route::Pod(destination);
    }
    to_outside(view, flow, destination)
}

/// Whether the address is the API server's own, which stands in what it publishes, such as where its keys are. At a
/// pod's loopback is the pod alone.
fn is_api_server(view: &View<'_>, flow: &Flow, destination: SocketAddr) -> bool {
    if flow.protocol != Protocol::Tcp || destination.ip().is_loopback() {
        return false;
    }
    let (namespace, name) = API_SERVICE;
    let key = ServiceKey { namespace: namespace.to_owned(), name: name.to_owned() };
    let port = view.table.service_port(&key, API_SERVICE_PORT);
    port.is_some_and(|port| port.backends.contains(&destination))
}

fn to_backend(view: &View<'_>, flow: &Flow, port: &ServicePort, backend: SocketAddr) -> Route {
    if view.ranges.is_pod(backend.ip()) {
        return Route::Pod(backend);
    }
    let is_api = (port.service.namespace.as_str(), port.service.name.as_str()) == API_SERVICE;
    if is_api {
        return Route::Real(backend);
    }
    if view.machine.contains(&backend.ip()) {
        return Route::Pod(backend);
    }
    to_outside(view, flow, backend)
}

fn to_outside(view: &View<'_>, flow: &Flow, address: SocketAddr) -> Route {
    let Some(from) = &flow.from else {
        return Route::Refused(format!("{address} is no address of this cluster"));
    };
    let ip = address.ip();
    if view.ranges.host.contains(&ip) || egress::is_never_granted(ip) {
        return Route::Refused(format!("{address} belongs to the host, which no pod may reach"));
    }
    if view.grants.get(from).is_some_and(|grant| grant.allows(address)) {
        return Route::Real(address);
    }
    Route::Refused(format!(
        "pod {from} may not reach {address}: grant it with the annotation {}: \"{address}\" on the Pod or its Namespace",
        egress::ANNOTATION
    ))
}

fn spelled(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}
