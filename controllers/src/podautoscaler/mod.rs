//! HorizontalPodAutoscaler: as many replicas as the metrics ask for, no faster than allowed.
//!
//! In: an autoscaler, the scale of its target, the target's pods, what each metric reads, and what
//! was recommended and done lately. Out: a new size, the status, and what to remember.
//! Vocabulary: a *proposal* is the size that one metric asks for; the largest is the
//! *recommendation*; behaviour turns it into the *desired* size.

mod behaviour;
mod conditions;
mod proposal;
mod reconcile;
pub(crate) mod run;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use k8s_openapi::api::core::v1::Pod;

pub use reconcile::reconcile;

/// How often metrics are read. *Source:* kube-controller-manager's
/// `--horizontal-pod-autoscaler-sync-period`.
pub const SYNC: Duration = Duration::from_secs(15);

/// The `scale` of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scale {
    /// `spec.replicas`.
    pub spec: i32,
    /// `status.replicas`.
    pub status: i32,
}

/// What one metric of the autoscaler reads, in thousandths of its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Usage by pod name.
    Pods(BTreeMap<String, i64>),
    /// One value for all.
    Value(i64),
    /// It could not be read; the words say why.
    Unknown(String),
}

/// What an autoscaler must remember to be calm. Bounded by the longest window, an hour of passes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Recommendations and when they were made, oldest first.
    pub recommended: Vec<(Timestamp, i32)>,
    /// By how much the target was changed, and when, oldest first.
    pub changed: Vec<(Timestamp, i32)>,
}

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The autoscaler.
    pub autoscaler: Arc<HorizontalPodAutoscaler>,
    /// The target's scale; the words say why it could not be read.
    pub scale: Result<Scale, String>,
    /// The target's pods.
    pub pods: Vec<Arc<Pod>>,
    /// What the metrics read, in the order of `spec.metrics`.
    pub readings: Vec<Reading>,
    /// What was remembered.
    pub memory: Memory,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Give the target this size, for this reason.
    Scale(i32, String),
    /// Remember this in place of what was remembered.
    Remember(Memory),
    /// Tell the autoscaler's owner: reason and message.
    Warn(String, String),
    /// Write the status.
    SetStatus(Box<HorizontalPodAutoscalerStatus>),
    /// Look again after this time.
    RequeueAfter(Duration),
}
