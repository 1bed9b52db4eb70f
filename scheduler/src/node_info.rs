//! One node with its pods.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coracle_api::fit::{NodeCapacity, NodeState};
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod_info::PodInfo;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// A node with its pods. A node that pods name but that is not known has no `node`.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    /// Where it stands in its snapshot.
    pub slot: usize,
    /// Its name.
    pub name: String,
    /// The node as it was seen last.
    pub node: Option<Arc<Node>>,
    /// What it can give and what is taken.
    pub state: NodeState,
    /// Its pods by uid.
    pub pods: BTreeMap<String, Arc<PodInfo>>,
    /// Bytes of the images that it holds, by each of their names.
    pub images: HashMap<String, i64>,
    /// What every decision asks of the node, taken out of it so that nothing else need be read.
    pub(crate) hot: Hot,
}

/// The labels that default constraints ask for, the taints, and whether the node is cordoned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hot {
    hostname: Option<String>,
    zone: Option<String>,
    taints: Vec<Taint>,
    unschedulable: bool,
}

impl Hot {
    fn of(node: &Node) -> Hot {
        let spec = node.spec.as_ref();
        let label = |key| node.metadata.labels.as_ref().and_then(|labels| labels.get(key).cloned());
        Hot {
            hostname: label(HOSTNAME),
            zone: label(ZONE),
            taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or_default(),
        }
    }
}

impl NodeInfo {
    /// Gives the value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        match key {
            HOSTNAME => self.hot.hostname.as_deref(),
            ZONE => self.hot.zone.as_deref(),
            other => {
                let labels = self.node.as_ref()?.metadata.labels.as_ref()?;
                labels.get(other).map(String::as_str)
            }
        }
    }

    /// Gives the taints.
    pub fn taints(&self) -> &[Taint] {
        &self.hot.taints
    }

    /// Tells whether the node was told to take no more pods.
    pub fn is_unschedulable(&self) -> bool {
        self.hot.unschedulable
    }

    /// Gives the node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the node as it is now.
    pub(crate) fn set(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        self.state.capacity = status.map(NodeCapacity::from_status).unwrap_or_default();
        let images = status.and_then(|status| status.images.as_deref()).unwrap_or_default();
        let names = images.iter().flat_map(|image| {
            let bytes = image.size_bytes.unwrap_or_default();
            image.names.iter().flatten().map(move |name| (name.clone(), bytes))
        });
        self.images = names.collect();
        self.hot = Hot::of(&node);
        self.node = Some(node);
    }

    /// Takes that the node is gone.
    pub(crate) fn unset(&mut self) {
        self.node = None;
        self.images.clear();
        self.hot = Hot::default();
        self.state.capacity = NodeCapacity::default();
    }

    /// Counts a pod in.
    pub(crate) fn add(&mut self, pod: Arc<PodInfo>) {
        self.state.add(&pod.request);
        self.pods.insert(pod.uid().to_owned(), pod);
    }

    /// Counts a pod out; gives it.
    pub(crate) fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let placed = self.pods.remove(uid)?;
        self.state.remove(&placed.request);
        Some(placed)
    }
}
