//! Job: pods until enough of them have succeeded.
//!
//! In: a Job and the pods that are or may become its own. Out: pods to create and to delete, pods
//! whose end is counted, and the status. Vocabulary: a pod is *tracked* while it carries the Job's
//! finalizer, so that its end is counted exactly once whoever deletes it; a Job has a *target*
//! (FailureTarget or SuccessCriteriaMet) from when its outcome is known until its last pod is gone
//! and the outcome is written as Failed or Complete.

mod conditions;
mod indexes;
mod observe;
mod outcome;
mod pace;
mod policy;
mod reconcile;
pub(crate) mod run;
mod spread;
mod status;
#[cfg(test)]
mod tests;
mod track;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use crate::claim::Claim;

pub use conditions::is_finished;
pub use indexes::Indexes;
pub use reconcile::reconcile;

/// Finalizer by which a Job's pods wait to be counted.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// Most pods that one pass creates or deletes, so that one Job does not hold up the rest.
/// *Source:* kube-controller-manager's burst.
pub const PASS_PODS_MAX: usize = 500;

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The Job.
    pub job: Arc<Job>,
    /// Pods that it controls, and pods of its namespace that nobody controls.
    pub pods: Vec<Arc<Pod>>,
}

/// What is to be done, in this order: a pod's end is in the status before its finalizer goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Take a pod in, or let it go.
    Claim(Claim<Pod>),
    /// Write the status.
    SetStatus(Box<JobStatus>),
    /// Take the finalizer off pods whose end is in the status.
    Untrack(Vec<Arc<Pod>>),
    /// Delete a pod whose end counts.
    Delete(Arc<Pod>),
    /// Take the finalizer off a pod and delete it: its end does not count.
    Discard(Arc<Pod>),
    /// Create these pods.
    Create(Vec<Pod>),
    /// Delete the Job itself: its time after the end is over.
    Expire,
    /// Look again after this time.
    RequeueAfter(Duration),
}
