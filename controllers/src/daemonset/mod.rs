//! DaemonSet: one pod on every node that it fits.
//!
//! In: a DaemonSet, all nodes, its pods and the revisions of its template. Out: pods to create for
//! a node and to delete, revisions, and the status. The scheduler binds the pods: each names its
//! node by an affinity. Vocabulary: a pod is *updated* when it is of the newest revision.

mod node;
mod observe;
mod pod;
mod reconcile;
pub(crate) mod run;
mod status;
#[cfg(test)]
mod tests;
mod update;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::claim::Claim;
use crate::history::Step;

pub(crate) use node::takes_pod;
pub use reconcile::{name_taken, reconcile};

/// Most pods that one pass creates or deletes. *Source:* kube-controller-manager's burst.
pub const PASS_PODS_MAX: usize = 250;

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The DaemonSet.
    pub set: Arc<DaemonSet>,
    /// All nodes; `None`: not known, so that nothing is made or deleted.
    pub nodes: Option<Vec<Arc<Node>>>,
    /// Pods that it controls, and pods of its namespace that nobody controls.
    pub pods: Vec<Arc<Pod>>,
    /// Revisions that it controls, and those of its namespace that nobody controls.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// How many of its pods have failed on a node lately.
    pub failures: HashMap<String, u32>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Take a pod in, or let it go.
    Claim(Claim<Pod>),
    /// Take a revision in, or let it go.
    ClaimRevision(Claim<ControllerRevision>),
    /// Bring the kept revisions in order.
    Revise(Step),
    /// Delete a pod.
    Delete(Arc<Pod>),
    /// Create these pods.
    Create(Vec<Pod>),
    /// Write the status.
    SetStatus(Box<DaemonSetStatus>),
    /// Look again after this time.
    RequeueAfter(Duration),
}
