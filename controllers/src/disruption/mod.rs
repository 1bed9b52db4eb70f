//! PodDisruptionBudget: how many of its pods may be evicted now.
//!
//! In: a budget, the pods that it selects and the sizes of what controls them. Out: its status, by
//! which the server grants evictions.

mod reconcile;
pub(crate) mod run;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};

pub use reconcile::reconcile;

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The budget.
    pub budget: Arc<PodDisruptionBudget>,
    /// The pods that its selector takes.
    pub pods: Vec<Arc<Pod>>,
    /// Wanted sizes by the uid of the pods' controllers; one that is missing could not be found.
    pub sizes: BTreeMap<String, Size>,
}

/// How large what controls a pod shall be. Several ReplicaSets of one Deployment are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// Uid of what is scaled.
    pub uid: String,
    /// Its wanted number of pods.
    pub replicas: i32,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write the status.
    SetStatus(Box<PodDisruptionBudgetStatus>),
    /// Tell the budget's owner: reason and message.
    Warn(&'static str, String),
    /// Look again after this time.
    RequeueAfter(Duration),
}
