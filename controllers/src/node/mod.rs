//! Node: addresses for its pods, whether it is alive, and what becomes of its pods if not.
//!
//! In: a Node, how long its Lease has stood still, what other hosts say of it, its pods. Out: its podCIDR,
//! conditions, taints, and pods to mark or to evict. The node's own status is its own business while it is alive.

mod cidr;
mod lifecycle;
pub(crate) mod run;
mod taints;
mod vote;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};

pub use cidr::{Cidr, CidrError, companion, next_free};
pub use lifecycle::reconcile;
pub(crate) use taints::tolerates;
pub use vote::Vote;

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The Node.
    pub node: Arc<Node>,
    /// How long its Lease has not been renewed, by this process's clock; `None`: not known yet.
    pub silent_for: Option<Duration>,
    /// How long it may be silent.
    pub grace: Duration,
    /// What the other hosts say of it.
    pub vote: Vote,
    /// The pods that are bound to it.
    pub pods: Vec<Arc<Pod>>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write these conditions in place of those there.
    SetConditions(Vec<NodeCondition>),
    /// Ask the host to renew its Lease at once.
    AskToRenew,
    /// Write these taints in place of those there.
    SetTaints(Vec<Taint>),
    /// Say in a pod's status that it is not ready, so that it leaves its Services.
    MarkNotReady(Arc<Pod>),
    /// Delete a pod that does not tolerate the node's taint (any longer).
    Evict(Arc<Pod>),
    /// Look again after this time.
    RequeueAfter(Duration),
}
