//! The nodes with what runs on them, and what has been decided for them but not yet seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coracle_api::fit::{NodeCapacity, NodeState, PodRequest};
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod_info::PodInfo;

/// A pod that holds a place on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedPod {
    /// What it has requested.
    pub request: PodRequest,
    /// Its priority.
    pub priority: i32,
}

/// A node with its pods. A node that pods name but that is not known has no `node`.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    /// The node as it was seen last.
    pub node: Option<Arc<Node>>,
    /// What it can give and what is taken.
    pub state: NodeState,
    /// Its pods by uid.
    pub pods: BTreeMap<String, PlacedPod>,
}

impl NodeInfo {
    /// Gives the value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = self.node.as_ref()?.metadata.labels.as_ref()?;
        labels.get(key).map(String::as_str)
    }

    /// Gives the taints.
    pub fn taints(&self) -> &[Taint] {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    /// Tells whether the node was told to take no more pods.
    pub fn is_unschedulable(&self) -> bool {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.unschedulable).unwrap_or_default()
    }

    /// Gives the node's name, empty when the node is not known.
    pub fn name(&self) -> &str {
        self.node.as_ref().and_then(|node| node.metadata.name.as_deref()).unwrap_or_default()
    }
}

/// All nodes, and where each placed pod is.
///
/// Holds for every pod at most one place; placing it again moves it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, NodeInfo>,
    places: HashMap<String, String>,
}

impl Snapshot {
    /// Gives the known nodes in the order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|info| info.node.is_some())
    }

    /// Gives one node, known or only named by pods.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name)
    }

    /// Gives the name of the node on which a pod has its place.
    pub fn place_of(&self, uid: &str) -> Option<&str> {
        self.places.get(uid).map(String::as_str)
    }

    /// Takes a node as it is now.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let Some(name) = node.metadata.name.clone() else { return };
        let info = self.nodes.entry(name).or_default();
        let status = node.status.as_ref();
        info.state.capacity = status.map(NodeCapacity::from_status).unwrap_or_default();
        info.node = Some(node);
    }

    /// Forgets a node; pods that still name it keep their place in the books.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            info.node = None;
        }
        self.drop_if_empty(name);
    }

    /// Gives a pod its place on a node.
    pub fn place(&mut self, pod: &PodInfo, node: &str) {
        let placed = PlacedPod { request: pod.request.clone(), priority: pod.priority() };
        if self.place_of(pod.uid()) == Some(node)
            && self.nodes.get(node).and_then(|info| info.pods.get(pod.uid())) == Some(&placed)
        {
            return;
        }
        self.displace(pod.uid());
        let info = self.nodes.entry(node.to_owned()).or_default();
        info.state.add(&placed.request);
        info.pods.insert(pod.uid().to_owned(), placed);
        self.places.insert(pod.uid().to_owned(), node.to_owned());
    }

    /// Takes a pod's place away; gives the name of the node that it was on.
    pub fn displace(&mut self, uid: &str) -> Option<String> {
        let node = self.places.remove(uid)?;
        if let Some(info) = self.nodes.get_mut(&node)
            && let Some(placed) = info.pods.remove(uid)
        {
            info.state.remove(&placed.request);
            // Two pods may have shared a port before the scheduler saw them.
            let ports = info.pods.values().flat_map(|pod| pod.request.host_ports.iter().cloned());
            info.state.host_ports.extend(ports);
        }
        self.drop_if_empty(&node);
        Some(node)
    }

    fn drop_if_empty(&mut self, name: &str) {
        let empty = |info: &NodeInfo| info.node.is_none() && info.pods.is_empty();
        if self.nodes.get(name).is_some_and(empty) {
            self.nodes.remove(name);
        }
    }
}
