//! The hosts of the cluster: where their tunnel is, and which pods are theirs. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use serde::{Deserialize, Serialize};

use super::PORT_ANNOTATION;
use crate::cidr::Cidr;

/// One host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The name of its Node, which its certificate has to have.
    pub node: String,
    /// Where its tunnel listens; `None` if it has not said so.
    pub address: Option<SocketAddr>,
    /// The addresses of its pods.
    pub pods: Vec<Cidr>,
}

/// A peer as a file keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedPeer {
    node: String,
    address: Option<SocketAddr>,
    pods: Vec<String>,
}

/// All hosts of the cluster, by name.
#[derive(Debug, Default)]
pub struct Peers {
    nodes: BTreeMap<String, (SavedPeer, Arc<Peer>)>,
}

impl Peers {
    /// Puts in a Node's newest state.
    pub fn set(&mut self, node: &Node) {
        if let Some(saved) = SavedPeer::of(node) {
            self.restore(saved);
        }
    }

    /// Puts in what a file kept.
    pub fn restore(&mut self, saved: SavedPeer) {
        let peer = Peer {
            node: saved.node.clone(),
            address: saved.address,
            pods: saved.pods.iter().filter_map(|range| Cidr::parse(range)).collect(),
        };
        self.nodes.insert(saved.node.clone(), (saved, Arc::new(peer)));
    }

    /// Takes a Node out.
    pub fn remove(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    /// Takes out what `keep` does not name.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.nodes.retain(|node, _| keep(node));
    }

    /// The host of that name.
    #[must_use]
    pub fn get(&self, node: &str) -> Option<&Arc<Peer>> {
        self.nodes.get(node).map(|(_, peer)| peer)
    }

    /// The hosts that have said where their tunnel is, by name and in order.
    pub fn reachable(&self) -> impl Iterator<Item = &str> {
        let told = self.nodes.iter().filter(|(_, (_, peer))| peer.address.is_some());
        told.map(|(name, _)| name.as_str())
    }

    /// The host whose pod has the address. `None` if there is none, and also if two claim it: then
    /// one of them lies, and neither is believed.
    #[must_use]
    pub fn owner(&self, ip: IpAddr) -> Option<&Arc<Peer>> {
        let mut claims = self
            .nodes
            .values()
            .map(|(_, peer)| peer)
            .filter(|peer| peer.pods.iter().any(|range| range.contains(ip)));
        let first = claims.next()?;
        claims.next().is_none().then_some(first)
    }

    /// What a file is to keep.
    pub fn saved(&self) -> impl Iterator<Item = &SavedPeer> {
        self.nodes.values().map(|(saved, _)| saved)
    }
}

impl SavedPeer {
    /// What a Node object says of its tunnel; `None` for an object without a name.
    fn of(node: &Node) -> Option<Self> {
        let annotations = node.metadata.annotations.as_ref();
        let port = annotations.and_then(|all| all.get(PORT_ANNOTATION)?.parse::<u16>().ok());
        let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
        let internal = addresses.into_iter().flatten().filter(|a| a.type_ == "InternalIP");
        let ip = internal.filter_map(|a| a.address.parse::<IpAddr>().ok()).next();
        let spec = node.spec.as_ref();
        let ranges = spec.and_then(|spec| spec.pod_cidrs.clone()).unwrap_or_default();
        let first = spec.and_then(|spec| spec.pod_cidr.clone());
        let pods = if ranges.is_empty() { first.into_iter().collect() } else { ranges };
        Some(Self {
            node: node.metadata.name.clone()?,
            address: ip.zip(port).map(SocketAddr::from),
            pods,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, ip: &str, range: &str, port: Option<&str>) -> Node {
        let mut node = json!({
            "metadata": {"name": name, "annotations": {}},
            "spec": {"podCIDR": range, "podCIDRs": [range]},
            "status": {"addresses": [{"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": ip}]},
        });
        if let Some(port) = port {
            node["metadata"]["annotations"][PORT_ANNOTATION] = json!(port);
        }
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn an_address_belongs_to_one_host_or_to_none() {
        let mut peers = Peers::default();
        peers.set(&node("a", "192.0.2.1", "10.128.0.0/18", Some("15008")));
        peers.set(&node("b", "192.0.2.2", "10.128.64.0/18", None));
        let owner = |peers: &Peers, ip: &str| {
            peers.owner(ip.parse().unwrap()).map(|peer| (peer.node.clone(), peer.address))
        };
        let a = ("a".to_owned(), Some("192.0.2.1:15008".parse().unwrap()));
        assert_eq!(owner(&peers, "10.128.0.5"), Some(a.clone()));
        assert_eq!(owner(&peers, "10.128.64.5"), Some(("b".to_owned(), None)));
        assert_eq!(owner(&peers, "10.128.128.5"), None);
        assert_eq!(peers.reachable().collect::<Vec<_>>(), ["a"]);
        // A host that claims what is another's takes it from both.
        peers.set(&node("liar", "192.0.2.3", "10.128.0.0/17", Some("15008")));
        assert_eq!(owner(&peers, "10.128.0.5"), None);
        peers.remove("liar");
        assert_eq!(owner(&peers, "10.128.0.5"), Some(a.clone()));
        let mut restored = Peers::default();
        peers.saved().cloned().for_each(|saved| restored.restore(saved));
        assert_eq!(owner(&restored, "10.128.0.5"), Some(a));
        restored.retain(|node| node == "b");
        assert!(restored.get("a").is_none() && restored.get("b").is_some());
    }
}
