//! Hosts on demand: a hook of the operator's adds hosts when pods have no room and removes idle ones.
//!
//! In: nodes, pods, budgets, and what was asked for lately. Out: calls of the two hooks, and before a host is removed
//! its node cordoned and its pods evicted, as `kubectl drain` does. Nothing here knows where hosts come from.
//! Vocabulary: a node is *idle* when little of it is requested and all its pods could run elsewhere; it is *marked* from
//! the decision to remove it until it is gone or wanted again.
//! *Source:* the rules of Kubernetes' cluster-autoscaler, FAQ, "How does scale-up / scale-down work?".

mod hook;
mod idle;
mod reconcile;
pub(crate) mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

pub use hook::Hook;
pub use reconcile::reconcile;

/// Annotation of a marked node: since when.
pub const MARK: &str = "coracle.dev/scale-down-since";

/// Annotation by which a node is never removed. *Source:* cluster-autoscaler.
pub const KEPT: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";

/// Annotation by which a pod says whether it may be evicted for this. *Source:* cluster-autoscaler.
pub const SAFE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// Which programs or webhooks are called, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostHooks {
    /// Adds a host. It gets the pods without room: `{"pods": [{"namespace", "name", "requests", "message"}]}`.
    pub add: Option<Hook>,
    /// Removes the host of a node, which is drained already: `{"node"}`; a program has the name as its argument too.
    pub remove: Option<Hook>,
    /// How long a node has to be idle before it is removed.
    pub idle_after: Duration,
    /// Time between two looks; a pod has to be without room for that long before a host is asked for.
    pub look_every: Duration,
    /// Time between two calls for more hosts, in which the first can come and be filled.
    pub add_again_after: Duration,
}

impl Default for HostHooks {
    /// No hooks; times as cluster-autoscaler has them.
    fn default() -> HostHooks {
        HostHooks {
            add: None,
            remove: None,
            idle_after: Duration::from_secs(600),
            look_every: Duration::from_secs(10),
            add_again_after: Duration::from_secs(60),
        }
    }
}

/// What is remembered between two looks; a new server begins with nothing, which only delays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// When hosts were asked for last.
    pub asked: Option<Timestamp>,
    /// Idle nodes, by name, since when.
    pub idle: BTreeMap<String, Timestamp>,
}

/// What a reconcile may look at.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// All pods.
    pub pods: Vec<Arc<Pod>>,
    /// All budgets.
    pub budgets: Vec<Arc<PodDisruptionBudget>>,
    /// What there is to call.
    pub hooks: HostHooks,
    /// What was remembered.
    pub memory: Memory,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask for a host for these pods.
    AddHost(Vec<Arc<Pod>>),
    /// Cordon a node and note that it goes.
    Mark(Arc<Node>),
    /// Take that back.
    Unmark(Arc<Node>),
    /// Evict a pod of a marked node.
    Evict(Arc<Pod>),
    /// Have the host of a drained node removed, and delete the node.
    RemoveHost(Arc<Node>),
    /// Remember this in place of what was remembered.
    Remember(Memory),
}
