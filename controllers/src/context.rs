//! What every controller's edge is given, and what it gives back: caches, configuration, tasks.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Caches, Client, Drive, Index, Recorder, Subscription};
use k8s_openapi::api::core::v1::Pod;

use crate::nodescaler::HostHooks;

/// How the controllers behave; the defaults are those of kube-controller-manager.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses of all pods, IPv4 CIDR; each node gets a part.
    pub cluster_cidr: String,
    /// Prefix length of a node's part.
    pub node_mask: u8,
    /// The IPv6 range, at most a /32, of which each node gets a /64 beside its IPv4 part; `None`: pods
    /// have IPv4 alone.
    pub cluster_cidr6: Option<String>,
    /// How long a node's Lease may stand still before the node counts as lost.
    pub node_grace: Duration,
    /// Certificate of the cluster's authority in PEM, for `kube-root-ca.crt`; `None`: not written.
    pub root_ca: Option<String>,
    /// Where hosts and clients reach the API server, `https://192.0.2.1:6443`; `None`: not told.
    pub server_url: Option<String>,
    /// What adds and removes hosts.
    pub hooks: HostHooks,
    /// Concurrent reconciles per controller.
    pub workers: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cluster_cidr: "10.128.0.0/9".to_owned(),
            node_mask: 18,
            cluster_cidr6: Some("fd63:6f72::/32".to_owned()),
            node_grace: Duration::from_secs(50),
            root_ca: None,
            server_url: None,
            hooks: HostHooks::default(),
            workers: 4,
        }
    }
}

/// Shared by all controllers of a process.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Caches,
    pub(crate) config: Arc<Config>,
    /// Pods by the node that they are bound to.
    pub(crate) pods_by_node: Arc<Index<Pod>>,
}

impl Context {
    /// Makes a recorder that speaks as one controller.
    pub(crate) fn recorder(&self, component: &str) -> Recorder {
        Recorder::new(&self.client, component, "")
    }
}

/// Gives the node that a pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// A controller at work: its workers and what feeds them.
#[derive(Debug)]
pub(crate) struct Running {
    /// Workers and other tasks.
    pub(crate) drive: Drive,
    /// Observers of caches that fill the queue.
    pub(crate) feeds: Vec<Subscription>,
}
