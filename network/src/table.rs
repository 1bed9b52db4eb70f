//! Services and their endpoints, arranged for the two questions a host asks: where does a
//! connection to this address go, and what does this name mean.
//!
//! Comes in: Service and EndpointSlice objects, one change at a time, in any order. Goes out:
//! [`ServicePort`]s by virtual address and by node port, and addresses by name. What a change of endpoints costs
//! does not depend on how many the Service has: only what differs goes into its `ways`. Pure: no IO, no
//! clock, no randomness; which backend of several is taken is [`crate::picker`]'s.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use coracle_vnet::Protocol;
use k8s_openapi::api::core::v1 as core;

use crate::backends::Backends;
use crate::endpoints::{Endpoint, Slice};
use crate::entry::{Door, Entry, PortSpec};
use crate::topology::{Place, TrafficPolicy};
use crate::ways::{Family, Kind, Way};

/// Namespace and name of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
}

impl std::fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One port of a Service with the backends that stand behind it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Whose port it is.
    pub service: ServiceKey,
    /// The port's name; empty if it has none.
    pub name: String,
    /// Endpoints that may be given new connections: [`Place::usable`].
    pub backends: Backends,
    /// How far connections may go.
    pub policy: TrafficPolicy,
    /// How long a client keeps its backend under `sessionAffinity: ClientIP`; `None` without.
    pub affinity: Option<Duration>,
    /// Whether its pods run only while it is used ([`crate::demand`]).
    pub on_demand: bool,
}

impl ServicePort {
    /// The same port without some of its backends.
    #[must_use]
    pub fn without(&self, backends: &[SocketAddr]) -> Self {
        Self { backends: self.backends.edited(backends, &[]), ..self.clone() }
    }
}

/// What names say of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described<'a> {
    /// Its own addresses.
    pub cluster_ips: &'a [IpAddr],
    /// Whether its name means its endpoints.
    pub headless: bool,
    /// The name that it stands for, of an `ExternalName`.
    pub alias: Option<&'a str>,
    /// Its ports: name, number, protocol.
    pub ports: Vec<(&'a str, u16, Protocol)>,
}

/// A way into a Service that is kept up.
#[derive(Debug)]
struct Open {
    way: Way,
    doors: Vec<Door>,
    /// What stands behind the doors now.
    port: Arc<ServicePort>,
}

/// All Services of the cluster as a host sees them.
#[derive(Debug, Default)]
pub struct Table {
    place: Place,
    dns: Vec<IpAddr>,
    services: BTreeMap<ServiceKey, Entry>,
    ways: HashMap<ServiceKey, Vec<Open>>,
    slices: BTreeMap<ServiceKey, BTreeMap<String, Arc<[Endpoint]>>>,
    slice_owner: HashMap<(String, String), ServiceKey>,
    virtual_ports: HashMap<(IpAddr, u16, Protocol), Arc<ServicePort>>,
    virtual_ips: HashMap<IpAddr, ServiceKey>,
    node_ports: HashMap<(u16, Protocol), Arc<ServicePort>>,
    nodes: HashMap<String, Vec<IpAddr>>,
    health_ports: HashMap<u16, ServiceKey>,
}

impl Table {
    /// Says where this host is, which decides about traffic policies and hints.
    pub fn set_place(&mut self, place: Place) {
        if self.place == place {
            return;
        }
        self.place = place;
        self.refresh_all();
    }

    /// Opens every Service's doors anew.
    pub(crate) fn refresh_all(&mut self) {
        let keys: Vec<ServiceKey> = self.services.keys().cloned().collect();
        keys.iter().for_each(|key| self.refresh(key));
    }

    /// Says at which addresses this host itself answers DNS, whatever Service has them.
    pub fn set_dns(&mut self, addresses: Vec<IpAddr>) {
        self.dns = addresses;
    }

    /// Says at which addresses a node is, where pods find the node ports; none when it is gone. Whether that is
    /// new.
    pub fn set_node(&mut self, node: &str, addresses: Vec<IpAddr>) -> bool {
        if addresses.is_empty() {
            return self.nodes.remove(node).is_some();
        }
        let is_new = self.nodes.get(node) != Some(&addresses);
        self.nodes.insert(node.to_owned(), addresses);
        is_new
    }

    /// The addresses of every node, by its name.
    #[must_use]
    pub fn nodes(&self) -> &HashMap<String, Vec<IpAddr>> {
        &self.nodes
    }

    /// Whether an address is the cluster's DNS address.
    #[must_use]
    pub fn is_dns(&self, ip: IpAddr) -> bool {
        self.dns.contains(&ip)
    }

    /// Where this host is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Puts in a Service's newest state.
    pub fn set_service(&mut self, key: &ServiceKey, service: &core::Service) {
        let entry = Entry::of(service);
        if self.services.get(key) == Some(&entry) {
            return;
        }
        self.unpublish(key);
        self.services.insert(key.clone(), entry);
        self.publish(key);
    }

    /// Takes a Service out; its EndpointSlices stay until they are deleted themselves.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        self.unpublish(key);
        self.services.remove(key);
    }

    /// Puts in an EndpointSlice's newest state. One without the label
    /// `kubernetes.io/service-name` belongs to no Service and is left out.
    pub fn set_slice(&mut self, namespace: &str, name: &str, slice: &Slice) {
        let Some(service) = slice.service.clone() else {
            return self.remove_slice(namespace, name);
        };
        let key = ServiceKey { namespace: namespace.to_owned(), name: service };
        let id = (namespace.to_owned(), name.to_owned());
        if self.slice_owner.get(&id).is_some_and(|owner| *owner != key) {
            self.remove_slice(namespace, name);
        }
        self.slice_owner.insert(id, key.clone());
        let of_service = self.slices.entry(key.clone()).or_default();
        let before = of_service.insert(name.to_owned(), Arc::clone(&slice.endpoints));
        let (gone, come) = differing(before.as_deref().unwrap_or_default(), &slice.endpoints);
        self.shift(&key, gone, come);
    }

    /// Takes an EndpointSlice out.
    pub fn remove_slice(&mut self, namespace: &str, name: &str) {
        let Some(key) = self.slice_owner.remove(&(namespace.to_owned(), name.to_owned())) else {
            return;
        };
        let Some(slices) = self.slices.get_mut(&key) else { return };
        let before = slices.remove(name);
        if slices.is_empty() {
            self.slices.remove(&key);
        }
        self.shift(&key, before.as_deref().unwrap_or_default(), &[]);
    }

    /// The Service port behind a virtual address, if there is one.
    #[must_use]
    pub fn virtual_port(
        &self,
        address: SocketAddr,
        protocol: Protocol,
    ) -> Option<&Arc<ServicePort>> {
        self.virtual_ports.get(&(address.ip(), address.port(), protocol))
    }

    /// The Service port that a connection of a pod is meant for: by a virtual address, or by a node's address and
    /// a node port. Which node it is does not matter then, and `externalTrafficPolicy: Local` does not count: it
    /// is about connections from outside.
    ///
    /// *Source:* kube-proxy, which takes a pod's connections to a node port before they leave the pod's node.
    #[must_use]
    pub fn port_at(&self, address: SocketAddr, protocol: Protocol) -> Option<Arc<ServicePort>> {
        if let Some(port) = self.virtual_port(address, protocol) {
            return Some(Arc::clone(port));
        }
        let port = self.node_port(address.port(), protocol)?;
        if !self.nodes.values().flatten().any(|ip| *ip == address.ip()) {
            return None;
        }
        match port.policy {
            TrafficPolicy::Cluster => Some(Arc::clone(port)),
            TrafficPolicy::Local => self.node_port_from_within(port, address.port(), protocol),
        }
    }

    fn node_port_from_within(
        &self,
        port: &ServicePort,
        number: u16,
        protocol: Protocol,
    ) -> Option<Arc<ServicePort>> {
        let entry = self.services.get(&port.service)?;
        let is_meant =
            |spec: &&PortSpec| spec.node_port == Some(number) && spec.protocol == protocol;
        let spec = entry.ports.iter().find(is_meant)?;
        Some(self.port(&port.service, entry, spec, (TrafficPolicy::Cluster, entry.family(0))))
    }

    /// The Service that owns a virtual IP, whatever the port.
    #[must_use]
    pub fn virtual_ip(&self, ip: IpAddr) -> Option<&ServiceKey> {
        self.virtual_ips.get(&ip)
    }

    /// The Service port behind a node port, if there is one.
    #[must_use]
    pub fn node_port(&self, port: u16, protocol: Protocol) -> Option<&Arc<ServicePort>> {
        self.node_ports.get(&(port, protocol))
    }

    /// A TCP port of a Service by its number, whether or not the Service has an address.
    #[must_use]
    pub fn service_port(&self, key: &ServiceKey, port: u16) -> Option<Arc<ServicePort>> {
        let entry = self.services.get(key)?;
        if let Some(ip) = entry.cluster_ips.first() {
            return self.virtual_ports.get(&(*ip, port, Protocol::Tcp)).cloned();
        }
        let is_meant = |spec: &&PortSpec| spec.port == port && spec.protocol == Protocol::Tcp;
        let spec = entry.ports.iter().find(is_meant)?;
        Some(self.port(key, entry, spec, (entry.internal, None)))
    }

    /// A port of a Service by its number, for connections from outside: what its node port leads to,
    /// whether or not it has one.
    #[must_use]
    pub fn external_port(
        &self,
        key: &ServiceKey,
        port: u16,
        protocol: Protocol,
    ) -> Option<Arc<ServicePort>> {
        let entry = self.services.get(key)?;
        let is_meant = |spec: &&PortSpec| spec.port == port && spec.protocol == protocol;
        let spec = entry.ports.iter().find(is_meant)?;
        match spec.node_port {
            Some(node_port) => self.node_port(node_port, protocol).cloned(),
            None => Some(self.port(key, entry, spec, (entry.external, entry.family(0)))),
        }
    }

    /// Every node port that has to be open on this host. With `externalTrafficPolicy: Local` it is
    /// only where the Service has an endpoint: elsewhere a client is refused.
    #[must_use]
    pub fn node_ports(&self) -> HashSet<(u16, Protocol)> {
        let open = |port: &ServicePort| {
            port.policy == TrafficPolicy::Cluster || port.on_demand || !port.backends.is_empty()
        };
        self.node_ports.iter().filter(|(_, port)| open(port)).map(|(number, _)| *number).collect()
    }

    /// The ports at which load balancers ask whether this node has endpoints of a Service
    /// (`healthCheckNodePort`).
    #[must_use]
    pub fn health_ports(&self) -> HashSet<u16> {
        self.health_ports.keys().copied().collect()
    }

    /// The Service that a health check port is about, and how many of its ready endpoints are on
    /// this node.
    #[must_use]
    pub fn health(&self, port: u16) -> Option<(&ServiceKey, usize)> {
        let key = self.health_ports.get(&port)?;
        let here = self.endpoints(key).filter(|e| e.ready && self.place.has(e));
        Some((key, here.map(|e| e.ip).collect::<BTreeSet<IpAddr>>().len()))
    }

    /// The ports of Services whose pods run only while they are used.
    pub fn on_demand(&self) -> impl Iterator<Item = &Arc<ServicePort>> {
        let ports = self.virtual_ports.values().chain(self.node_ports.values());
        ports.filter(|port| port.on_demand)
    }

    /// What names say of a Service; `None` if there is no such Service.
    #[must_use]
    pub fn described(&self, key: &ServiceKey) -> Option<Described<'_>> {
        let entry = self.services.get(key)?;
        Some(Described {
            cluster_ips: &entry.cluster_ips,
            headless: entry.headless,
            alias: entry.alias.as_deref(),
            ports: entry.ports.iter().map(|p| (p.name.as_str(), p.port, p.protocol)).collect(),
        })
    }

    /// The endpoints of a Service that names lead to: the ready ones, and all with
    /// `publishNotReadyAddresses`.
    pub fn named(&self, key: &ServiceKey) -> impl Iterator<Item = &Endpoint> {
        let all = self.services.get(key).is_some_and(|entry| entry.publish_not_ready);
        self.endpoints(key).filter(move |endpoint| endpoint.ready || all)
    }

    /// The endpoints of headless Services that have an address.
    pub fn headless_at(&self, ip: IpAddr) -> impl Iterator<Item = (&ServiceKey, &Endpoint)> {
        let headless = self.services.iter().filter(|(_, entry)| entry.headless);
        headless.flat_map(move |(key, _)| {
            self.named(key).filter(move |e| e.ip == ip).map(move |endpoint| (key, endpoint))
        })
    }

    /// Whether any Service is in the namespace.
    #[must_use]
    pub fn has_namespace(&self, namespace: &str) -> bool {
        let first = ServiceKey { namespace: namespace.to_owned(), name: String::new() };
        self.services.range(first..).next().is_some_and(|(key, _)| key.namespace == namespace)
    }

    pub(crate) fn endpoints(&self, key: &ServiceKey) -> impl Iterator<Item = &Endpoint> {
        let slices = self.slices.get(key).into_iter().flat_map(BTreeMap::values);
        slices.flat_map(|slice| slice.iter())
    }

    /// Puts what differs between two states of a slice into the Service's ways, and what came of it behind their
    /// doors.
    fn shift(&mut self, key: &ServiceKey, gone: &[Endpoint], come: &[Endpoint]) {
        if gone.is_empty() && come.is_empty() {
            return;
        }
        for open in self.ways.get_mut(key).into_iter().flatten() {
            open.way.change((&self.place, &open.port.name), gone, come);
            let backends = open.way.backends();
            if open.port.backends.is_same(backends) {
                continue;
            }
            let backends = backends.clone();
            open.port = Arc::new(ServicePort { backends, ..ServicePort::clone(&open.port) });
            for door in &open.doors {
                let behind = match door {
                    Door::Virtual(door) => self.virtual_ports.get_mut(door),
                    Door::Node(door) => self.node_ports.get_mut(door),
                };
                if let Some(behind) = behind.filter(|behind| behind.service == *key) {
                    *behind = Arc::clone(&open.port);
                }
            }
        }
    }

    fn refresh(&mut self, key: &ServiceKey) {
        self.unpublish(key);
        self.publish(key);
    }

    /// Takes a Service's doors away, but for those that another one has by now: of two changes that follow one another
    /// in the API, the later one may come here first.
    fn unpublish(&mut self, key: &ServiceKey) {
        self.ways.remove(key);
        let Some(entry) = self.services.get(key) else {
            return;
        };
        for ip in &entry.cluster_ips {
            remove_if(&mut self.virtual_ips, ip, |owner| owner == key);
            for port in &entry.ports {
                let door = (*ip, port.port, port.protocol);
                remove_if(&mut self.virtual_ports, &door, |behind| behind.service == *key);
            }
        }
        for port in &entry.ports {
            if let Some(node_port) = port.node_port {
                let door = (node_port, port.protocol);
                remove_if(&mut self.node_ports, &door, |behind| behind.service == *key);
            }
        }
        if let Some(port) = entry.health_port {
            remove_if(&mut self.health_ports, &port, |owner| owner == key);
        }
    }

    fn publish(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get(key).cloned() else {
            return;
        };
        for ip in &entry.cluster_ips {
            self.virtual_ips.insert(*ip, key.clone());
        }
        if let Some(port) = entry.health_port {
            self.health_ports.insert(port, key.clone());
        }
        let mut ways = Vec::new();
        for spec in &entry.ports {
            for ((policy, family), doors) in entry.ways(spec) {
                let mut way = Way::new(Kind { policy, family, protocol: spec.protocol });
                way.change((&self.place, &spec.name), [], self.endpoints(key));
                let port = entry.port(key, spec, policy, way.backends().clone());
                for door in &doors {
                    let port = Arc::clone(&port);
                    match *door {
                        Door::Virtual(door) => self.virtual_ports.insert(door, port),
                        Door::Node(door) => self.node_ports.insert(door, port),
                    };
                }
                ways.push(Open { way, doors, port });
            }
        }
        if !ways.is_empty() {
            self.ways.insert(key.clone(), ways);
        }
    }

    fn port(
        &self,
        key: &ServiceKey,
        entry: &Entry,
        spec: &PortSpec,
        (policy, family): (TrafficPolicy, Option<Family>),
    ) -> Arc<ServicePort> {
        entry.port(key, spec, policy, self.backends(key, spec, (policy, family)))
    }

    /// The backends of a port that no way is kept up for.
    fn backends(
        &self,
        key: &ServiceKey,
        spec: &PortSpec,
        (policy, family): (TrafficPolicy, Option<Family>),
    ) -> Backends {
        let counts = |e: &&Endpoint| {
            e.port(&spec.name, spec.protocol).is_some()
                && family.is_none_or(|family| family == Family::of(e.ip))
        };
        let all: Vec<&Endpoint> = self.endpoints(key).filter(counts).collect();
        let usable = self.place.usable(policy, &all).into_iter();
        let at = |e: &Endpoint| Some((e.ip, e.port(&spec.name, spec.protocol)?).into());
        usable.filter_map(at).collect()
    }
}

fn remove_if<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: &K, is_own: impl Fn(&V) -> bool) {
    if map.get(key).is_some_and(is_own) {
        map.remove(key);
    }
}

/// What is only in the one and what is only in the other of two lists of endpoints, and maybe some that are in both.
fn differing<'a>(
    before: &'a [Endpoint],
    after: &'a [Endpoint],
) -> (&'a [Endpoint], &'a [Endpoint]) {
    let same = |(one, other): &(&Endpoint, &Endpoint)| one == other;
    let first = before.iter().zip(after).take_while(same).count();
    let (before, after) =
        (before.get(first..).unwrap_or_default(), after.get(first..).unwrap_or_default());
    let last = before.iter().rev().zip(after.iter().rev()).take_while(same).count();
    let rest = |all: &'a [Endpoint]| all.get(..all.len() - last).unwrap_or_default();
    (rest(before), rest(after))
}
