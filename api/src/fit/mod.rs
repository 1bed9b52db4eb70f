//! Whether a pod fits onto a node: requests against what is left, and ports of the host.
//!
//! The scheduler asks before it binds, the host asks again before it starts, with the same
//! function: the scheduler's snapshot may be old.

mod request;
mod resources;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::NodeStatus;

pub use request::{HostPort, PodRequest, ScoringRequest};
pub use resources::Resources;

/// Pods that a node takes when it does not say.
const PODS_DEFAULT: i64 = 110;

/// What a node can give to pods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeCapacity {
    /// Resources that pods may request together.
    pub resources: Resources,
    /// Number of pods.
    pub pods: i64,
}

impl NodeCapacity {
    /// Reads `allocatable`, or `capacity` where a node has none.
    pub fn from_status(status: &NodeStatus) -> Self {
        let list = status.allocatable.as_ref().or(status.capacity.as_ref());
        let mut resources = list.map(Resources::from_list).unwrap_or_default();
        let pods = resources.others.remove("pods").unwrap_or(PODS_DEFAULT);
        NodeCapacity { resources, pods }
    }
}

/// What a node can give and what its pods have requested of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeState {
    /// What the node can give.
    pub capacity: NodeCapacity,
    /// What its pods have requested together.
    pub requested: Resources,
    /// The same with the amounts that count for pods without requests; for scores only.
    pub scoring: ScoringRequest,
    /// Number of pods on it.
    pub pods: i64,
    /// Ports of the host that its pods have taken, and by how many: several may have got one before
    /// anybody looked. A port that is free is not in it.
    pub host_ports: BTreeMap<HostPort, usize>,
}

impl NodeState {
    /// Gives an empty node.
    pub fn new(capacity: NodeCapacity) -> Self {
        NodeState { capacity, ..NodeState::default() }
    }

    /// Counts a pod in.
    pub fn add(&mut self, pod: &PodRequest) {
        self.requested.add(&pod.resources);
        self.scoring.add(pod.scoring);
        self.pods += 1;
        for port in &pod.host_ports {
            *self.host_ports.entry(port.clone()).or_default() += 1;
        }
    }

    /// Counts a pod out that was counted in with the same request.
    pub fn remove(&mut self, pod: &PodRequest) {
        self.requested.subtract(&pod.resources);
        self.scoring.subtract(pod.scoring);
        self.pods -= 1;
        for port in &pod.host_ports {
            if let Some(count) = self.host_ports.get_mut(port) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.host_ports.remove(port);
                }
            }
        }
    }
}

/// One reason why a pod does not fit onto a node; `Display` gives upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// The node has as many pods as it takes.
    TooManyPods,
    /// There is less left of a resource than the pod requests.
    Insufficient {
        /// Name of the resource, as in `cpu`.
        resource: String,
    },
    /// A port of the host is taken.
    PortsInUse,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::TooManyPods => f.write_str("Too many pods"),
            Lack::Insufficient { resource } => write!(f, "Insufficient {resource}"),
            Lack::PortsInUse => {
                f.write_str("node(s) didn't have free ports for the requested pod ports")
            }
        }
    }
}

/// Gives every reason why a pod does not fit onto a node; none when it fits.
///
/// A resource of which the pod requests nothing is not looked at, so that an overfull node still
/// takes pods without requests.
pub fn fits(pod: &PodRequest, node: &NodeState) -> Vec<Lack> {
    let mut lacks = vec![];
    if node.pods + 1 > node.capacity.pods {
        lacks.push(Lack::TooManyPods);
    }
    for (resource, wanted) in pod.resources.iter().filter(|(_, wanted)| *wanted > 0) {
        let capacity = node.capacity.resources.get(resource);
        let left = capacity.saturating_sub(node.requested.get(resource));
        if wanted > left {
            lacks.push(Lack::Insufficient { resource: resource.to_owned() });
        }
    }
    let taken = |port: &HostPort| node.host_ports.keys().any(|other| other.collides(port));
    if pod.host_ports.iter().any(taken) {
        lacks.push(Lack::PortsInUse);
    }
    lacks
}

#[cfg(test)]
mod tests;
