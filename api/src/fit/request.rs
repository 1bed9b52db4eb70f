//! What a pod asks of its node.
//! *Source:* `k8s.io/component-helpers/resource.PodRequests`, KEP-753 for side-cars.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::Resources;

/// CPU in thousandths that counts for a container without a request when nodes are scored.
const SCORING_CPU_MILLIS: i64 = 100;

/// Memory in bytes that counts for a container without a request when nodes are scored.
const SCORING_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// What a pod asks of its node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodRequest {
    /// Resources, init containers and overhead included.
    pub resources: Resources,
    /// What counts when nodes are scored: a pod without requests is not free.
    pub scoring: ScoringRequest,
    /// Ports of the host.
    pub host_ports: Vec<HostPort>,
}

/// CPU and memory that count when nodes are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScoringRequest {
    /// CPU in thousandths of a core.
    pub cpu_millis: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
}

impl ScoringRequest {
    /// Adds amounts.
    pub fn add(&mut self, other: ScoringRequest) {
        self.cpu_millis = self.cpu_millis.saturating_add(other.cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
    }

    /// Takes amounts away.
    pub fn subtract(&mut self, other: ScoringRequest) {
        self.cpu_millis = self.cpu_millis.saturating_sub(other.cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
    }
}

/// A port of the host that a container wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Address of the host, empty for all.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port.
    pub port: i32,
}

impl HostPort {
    /// Tells whether two ports cannot both be had: the same port and protocol on addresses that
    /// overlap.
    pub fn collides(&self, other: &HostPort) -> bool {
        let all = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || all(&self.ip) || all(&other.ip))
    }
}

impl PodRequest {
    /// Sums up what a pod asks for.
    ///
    /// Containers and side-cars run together, so they add up; an init container runs alone beside
    /// the side-cars started before it, so the largest of those counts. Requests of the pod itself
    /// go before those of its containers; overhead comes on top.
    pub fn from_spec(spec: &PodSpec) -> Self {
        let mut resources = sum(spec, requests);
        let pod_level = spec.resources.as_ref().and_then(|own| own.requests.as_ref());
        for (name, amount) in pod_level.map(Resources::from_list).unwrap_or_default().iter() {
            if amount > 0 {
                *resources.amount_mut(name) = amount;
            }
        }
        if let Some(overhead) = &spec.overhead {
            resources.add(&Resources::from_list(overhead));
        }
        let scoring = sum(spec, scoring_requests);
        let scoring = ScoringRequest {
            cpu_millis: scoring.cpu_millis.max(resources.cpu_millis),
            memory_bytes: scoring.memory_bytes.max(resources.memory_bytes),
        };
        PodRequest { resources, scoring, host_ports: host_ports(spec) }
    }
}

fn sum(spec: &PodSpec, of: fn(&Container) -> Resources) -> Resources {
    let mut together = Resources::default();
    for container in &spec.containers {
        together.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut largest_init = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        let mut at_once = sidecars.clone();
        at_once.add(&own);
        if container.restart_policy.as_deref() == Some("Always") {
            together.add(&own);
            sidecars = at_once.clone();
        }
        largest_init.raise(&at_once);
    }
    together.raise(&largest_init);
    together
}

/// Gives the requests of a container. A limit without a request was made one by defaulting.
fn requests(container: &Container) -> Resources {
    let list = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    list.map(Resources::from_list).unwrap_or_default()
}

fn scoring_requests(container: &Container) -> Resources {
    let list = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let has = |name: &str| list.is_some_and(|list| list.contains_key(name));
    let own = requests(container);
    Resources {
        cpu_millis: if has("cpu") { own.cpu_millis } else { SCORING_CPU_MILLIS },
        memory_bytes: if has("memory") { own.memory_bytes } else { SCORING_MEMORY_BYTES },
        ..Resources::default()
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|it| it.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|it| it.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(HostPort {
                ip: port.host_ip.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: port.host_port.filter(|&port| port > 0)?,
            })
        })
        .collect()
}
