//! StatefulSet: pods with a name, a place in an order and volumes of their own.
//!
//! In: a StatefulSet, its pods, the revisions of its template and its volume claims. Out: pods and
//! claims to create, to correct and to delete, revisions, and the status. Vocabulary: an *ordinal*
//! is the number in a pod's name, from `spec.ordinals.start` on; a pod beyond the wanted ordinals
//! is *condemned*; the *current* revision is the template before a rollout, the *update* revision
//! the one that it goes to.

mod claims;
mod identity;
mod order;
mod plan;
mod reconcile;
pub(crate) mod run;
mod status;
#[cfg(test)]
mod tests;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::claim::Claim;
use crate::history::Step;

pub(crate) use plan::claims_of_interest;
pub use reconcile::{name_taken, reconcile};

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The StatefulSet.
    pub set: Arc<StatefulSet>,
    /// Pods that it controls, and pods of its namespace that nobody controls.
    pub pods: Vec<Arc<Pod>>,
    /// Revisions that it controls, and those of its namespace that nobody controls.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// The claims of its namespace that its pods name or may name, by name; `None`: not known, so
    /// that no pod with claims is made.
    pub claims: Option<BTreeMap<String, Arc<PersistentVolumeClaim>>>,
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
    /// Create a pod's volume claim.
    CreateVolume(Box<PersistentVolumeClaim>),
    /// Write who owns a volume claim, as the retention policy says.
    OwnVolume(Arc<PersistentVolumeClaim>, Vec<OwnerReference>),
    /// Create a pod.
    Create(Box<Pod>),
    /// Give a pod the labels back that say who it is.
    Relabel(Arc<Pod>, BTreeMap<String, String>),
    /// Delete a pod.
    Delete(Arc<Pod>),
    /// Write the status.
    SetStatus(Box<StatefulSetStatus>),
    /// Look again after this time.
    RequeueAfter(Duration),
}
