//! ReplicaSet: as many pods as asked for.
//!
//! In: a ReplicaSet, the pods that are or may become its own, the failure of the last attempt.
//! Out: pods to adopt, release, create and delete, and its status. Which pods these become is
//! never known here, only how many.

mod claim;
mod pace;
mod rank;
mod reconcile;
pub(crate) mod run;
mod status;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

pub use reconcile::reconcile;
pub use status::status;

/// Most pods that one pass creates or deletes, so that one ReplicaSet does not hold up the rest.
/// *Source:* kube-controller-manager's burst.
pub const PASS_PODS_MAX: usize = 500;

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The ReplicaSet.
    pub replica_set: Arc<ReplicaSet>,
    /// Pods that it controls, and pods of its namespace that nobody controls.
    pub pods: Vec<Arc<Pod>>,
    /// Pods of the ReplicaSets of the same Deployment, by which deletion spreads over nodes.
    pub related: Vec<Arc<Pod>>,
}

/// Why the last attempt to create or delete pods did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// The server's words.
    pub message: String,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Become the controller of a pod.
    Adopt(Arc<Pod>),
    /// Stop being the controller of a pod.
    Release(Arc<Pod>),
    /// Create so many pods from the template.
    Create(usize),
    /// Delete a pod.
    Delete(Arc<Pod>),
    /// Write the status.
    SetStatus(Box<ReplicaSetStatus>),
    /// Look again after this time.
    RequeueAfter(Duration),
}
