//! One Service as a host keeps it, and the doors and ways that it asks for. Pure.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::ondemand::IDLE;
use coracle_vnet::Protocol;
use k8s_openapi::api::core::v1 as core;

use crate::backends::Backends;
use crate::endpoints;
use crate::table::{ServiceKey, ServicePort};
use crate::topology::TrafficPolicy;
use crate::ways::Family;

/// A Service.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Entry {
    /// Its own addresses.
    pub(crate) cluster_ips: Vec<IpAddr>,
    /// Whether its name means its endpoints.
    pub(crate) headless: bool,
    /// The name that it stands for, of an `ExternalName`.
    pub(crate) alias: Option<String>,
    /// Its ports.
    pub(crate) ports: Vec<PortSpec>,
    /// How long a client keeps its backend; `None` without `sessionAffinity`.
    pub(crate) affinity: Option<Duration>,
    /// Whether names lead to endpoints that are not ready, too.
    pub(crate) publish_not_ready: bool,
    /// Whether its pods run only while it is used.
    pub(crate) on_demand: bool,
    /// How far connections from pods may go.
    pub(crate) internal: TrafficPolicy,
    /// How far connections from outside may go.
    pub(crate) external: TrafficPolicy,
    /// Where load balancers ask for its health.
    pub(crate) health_port: Option<u16>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PortSpec {
    /// Its name; empty without one.
    pub(crate) name: String,
    /// Its number at the Service's own addresses.
    pub(crate) port: u16,
    /// Its number at every node's.
    pub(crate) node_port: Option<u16>,
    /// Its transport.
    pub(crate) protocol: Protocol,
}

/// Where connections come in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door {
    /// At an address of the Service.
    Virtual((IpAddr, u16, Protocol)),
    /// At a node port.
    Node((u16, Protocol)),
}

/// How far a way goes, and to which family of endpoints; `None`: to all.
pub(crate) type Reach = (TrafficPolicy, Option<Family>);

impl Entry {
    /// The ways to a port, each with the doors that lead to it. Each of several addresses leads to endpoints of its
    /// own family, a node port to those of the first.
    pub(crate) fn ways(&self, spec: &PortSpec) -> Vec<(Reach, Vec<Door>)> {
        let addresses = self.cluster_ips.iter().enumerate().map(|(index, ip)| {
            let door = Door::Virtual((*ip, spec.port, spec.protocol));
            ((self.internal, self.family(index)), door)
        });
        let node_port = spec
            .node_port
            .map(|number| ((self.external, self.family(0)), Door::Node((number, spec.protocol))));
        let mut ways: Vec<(Reach, Vec<Door>)> = Vec::new();
        for (to, door) in addresses.chain(node_port) {
            match ways.iter_mut().find(|(known, _)| *known == to) {
                Some((_, doors)) => doors.push(door),
                None => ways.push((to, vec![door])),
            }
        }
        ways
    }

    /// What stands behind the doors of a way.
    pub(crate) fn port(
        &self,
        key: &ServiceKey,
        spec: &PortSpec,
        policy: TrafficPolicy,
        backends: Backends,
    ) -> Arc<ServicePort> {
        Arc::new(ServicePort {
            service: key.clone(),
            name: spec.name.clone(),
            backends,
            policy,
            affinity: self.affinity,
            on_demand: self.on_demand,
        })
    }

    /// The family of the endpoints behind one of the Service's addresses. A Service with one address
    /// has only such endpoints as it is meant to have.
    pub(crate) fn family(&self, index: usize) -> Option<Family> {
        let ip = self.cluster_ips.get(index).filter(|_| self.cluster_ips.len() > 1);
        ip.map(|ip| Family::of(*ip))
    }

    /// What a host needs of a Service.
    pub(crate) fn of(service: &core::Service) -> Self {
        let Some(spec) = &service.spec else {
            return Self::default();
        };
        let external = spec.type_.as_deref() == Some("ExternalName");
        let ips = spec.cluster_ips.clone().or_else(|| spec.cluster_ip.clone().map(|ip| vec![ip]));
        let ips = ips.unwrap_or_default();
        let client_ip = spec.session_affinity.as_deref() == Some("ClientIP");
        Self {
            headless: !external && ips.iter().any(|ip| ip == "None"),
            cluster_ips: ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
            alias: spec.external_name.clone().filter(|name| external && !name.is_empty()),
            ports: spec.ports.iter().flatten().filter_map(PortSpec::of).collect(),
            affinity: client_ip.then(|| affinity_timeout(spec)),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
            internal: TrafficPolicy::of(spec.internal_traffic_policy.as_deref()),
            external: TrafficPolicy::of(spec.external_traffic_policy.as_deref()),
            health_port: spec
                .health_check_node_port
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port != 0),
            on_demand: service
                .metadata
                .annotations
                .as_ref()
                .is_some_and(|all| all.contains_key(IDLE)),
        }
    }
}

impl PortSpec {
    fn of(port: &core::ServicePort) -> Option<Self> {
        Some(Self {
            name: port.name.clone().unwrap_or_default(),
            port: u16::try_from(port.port).ok()?,
            node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|p| *p != 0),
            protocol: endpoints::protocol(port.protocol.as_deref())?,
        })
    }
}

/// `timeoutSeconds` of the Service, by default three hours as in Kubernetes.
fn affinity_timeout(spec: &core::ServiceSpec) -> Duration {
    const DEFAULT_SECONDS: u64 = 10_800;
    let seconds = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client_ip| client_ip.timeout_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS))
}
