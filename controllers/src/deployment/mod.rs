//! Deployment: a template at a controlled rate.
//!
//! In: a Deployment, the ReplicaSets of its namespace that are or may become its own, and for the
//! strategy Recreate their pods. Out: ReplicaSets to create, scale, annotate and delete, and the
//! Deployment's revision and status. Pods are never touched here. Vocabulary: the *new*
//! ReplicaSet has the Deployment's current template, all others are *old*.

mod conditions;
mod plan;
mod proportion;
mod reconcile;
mod revision;
mod rollout;
pub(crate) mod run;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use crate::claim::Claim;

pub use reconcile::{creation_failed, name_taken, reconcile};

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The Deployment.
    pub deployment: Arc<Deployment>,
    /// ReplicaSets that it controls, and those of its namespace that nobody controls.
    pub replica_sets: Vec<Arc<ReplicaSet>>,
    /// Pods of the ReplicaSets that it controls. Needed by the strategy Recreate alone.
    pub pods: Vec<Arc<Pod>>,
}

/// How a ReplicaSet is to be changed; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    /// `spec.replicas`.
    pub replicas: Option<i32>,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: Option<i32>,
    /// Annotations to set.
    pub annotations: BTreeMap<String, String>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Take a ReplicaSet in, or let it go.
    Claim(Claim<ReplicaSet>),
    /// Create the ReplicaSet of the current template.
    Create(Box<ReplicaSet>),
    /// Change a ReplicaSet.
    Update(Arc<ReplicaSet>, Edit),
    /// Delete an old ReplicaSet that history no longer keeps.
    Delete(Arc<ReplicaSet>),
    /// Write the Deployment's revision annotation.
    SetRevision(String),
    /// Write the status.
    SetStatus(Box<DeploymentStatus>),
    /// Look again after this time.
    RequeueAfter(Duration),
}
