//! CronJob: a Job at each time that its schedule names.
//!
//! In: a CronJob and the Jobs that it controls. Out: the Job of the latest time that is due, Jobs
//! to replace or that history no longer keeps, and the status.

mod reconcile;
pub(crate) mod run;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};

pub use reconcile::reconcile;
pub use schedule::{Schedule, ScheduleError};

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The CronJob.
    pub cron: Arc<CronJob>,
    /// The Jobs that it controls.
    pub jobs: Vec<Arc<Job>>,
}

/// Why a Job is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The next one takes its place.
    Replaced,
    /// History keeps no more.
    History,
}

/// What is to be done, in this order: a Job is there before the status says so.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Delete a Job and its pods.
    Delete(Arc<Job>, Cause),
    /// Create a Job. One of the name that is there already is the same one.
    Create(Box<Job>),
    /// Tell the CronJob's owner: warning or not, reason, message.
    Tell(bool, &'static str, String),
    /// Write the status.
    SetStatus(Box<CronJobStatus>),
    /// Look again after this time.
    RequeueAfter(Duration),
}
