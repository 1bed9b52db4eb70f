//! ReplicaSet: as many pods as asked for.
//!
//! In: a ReplicaSet, the pods that are or may become its own, the failure of the last attempt.
//! Out: pods to adopt, release, create and delete, and its status. Which pods these become is
//! never known here, only how many.

mod pace;
mod rank;
mod reconcile;
pub(crate) mod run;
mod status;

use std::sync::Arc;
use std::time::Duration;

use coracle_client::cache::Object;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use kube::core::{NamespaceResourceScope, Resource};
use serde::Serialize;

use crate::claim::Claim;
use crate::objects::PodSelector;

pub(crate) use rank::by_loss;
pub use reconcile::reconcile;
pub use status::status;

/// Most pods that one pass creates or deletes, so that one ReplicaSet does not hold up the rest.
/// *Source:* kube-controller-manager's burst.
pub const PASS_PODS_MAX: usize = 500;

/// A kind that keeps a number of pods as a ReplicaSet does.
pub(crate) trait Replicated:
    Object + Resource<DynamicType = (), Scope = NamespaceResourceScope>
{
    /// Name under which its controller speaks.
    const CONTROLLER: &'static str;
    /// Its status.
    type Status: Serialize + Send + Sync;

    /// Gives the ReplicaSet that works as the object does, with its metadata.
    fn to_set(owner: &Arc<Self>) -> Arc<ReplicaSet>;
    /// Gives which pods it takes.
    fn selector(&self) -> Option<PodSelector>;
    /// Gives its status.
    fn status(&self) -> Option<&Self::Status>;
    /// Makes its status of that of a ReplicaSet.
    fn status_from(status: ReplicaSetStatus) -> Self::Status;
    /// Leaves out of a status what the kind's own cannot tell.
    fn tellable(status: ReplicaSetStatus) -> ReplicaSetStatus;
}

/// Takes out a write of a status that tells, in the owner's words, what it tells already.
pub(crate) fn without_retelling<R: Replicated>(owner: &Arc<R>, actions: &mut Vec<Action>) {
    let old = R::to_set(owner).status.clone();
    actions.retain(|action| match action {
        Action::SetStatus(new) => {
            let new = R::tellable(ReplicaSetStatus::clone(new));
            old.as_ref().is_none_or(|old| !status::same(old, &new))
        }
        Action::Claim(_) | Action::Create(_) | Action::Delete(_) | Action::RequeueAfter(_) => true,
    });
}

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The ReplicaSet.
    pub replica_set: Arc<ReplicaSet>,
    /// Pods that it controls, and pods of its namespace that nobody controls.
    pub pods: Vec<Arc<Pod>>,
    /// Pods of the ReplicaSets of the same Deployment, by which deletion spreads over nodes; none where there are no
    /// more pods than asked for.
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
    /// Take a pod in, or let it go.
    Claim(Claim<Pod>),
    /// Create so many pods from the template.
    Create(usize),
    /// Delete these pods.
    Delete(Vec<Arc<Pod>>),
    /// Write the status.
    SetStatus(Box<ReplicaSetStatus>),
    /// Look again after this time.
    RequeueAfter(Duration),
}
