//! A Job's conditions: Suspended, the two targets, and the two ends.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const SUSPENDED: &str = "Suspended";
pub(super) const FAILURE_TARGET: &str = "FailureTarget";
pub(super) const SUCCESS: &str = "SuccessCriteriaMet";
pub(super) const FAILED: &str = "Failed";
pub(super) const COMPLETE: &str = "Complete";

/// Gives a condition that is true.
pub(super) fn on<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let mut all = status.conditions.iter().flatten();
    all.find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Says whether a Job has ended, well or not.
pub fn is_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| end_of(status).is_some())
}

/// Gives the condition by which a Job has ended.
pub(super) fn end_of(status: &JobStatus) -> Option<&JobCondition> {
    on(status, COMPLETE).or_else(|| on(status, FAILED))
}

/// Sets a condition, unless status and reason are what they were.
pub(super) fn set(
    status: &mut JobStatus,
    kind: &str,
    value: bool,
    (reason, message): (&str, &str),
    now: Timestamp,
) {
    let value = if value { "True" } else { "False" };
    let all = status.conditions.get_or_insert_default();
    let there = all.iter_mut().find(|condition| condition.type_ == kind);
    let new = JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match there {
        Some(there) if there.status == value && there.reason.as_deref() == Some(reason) => {}
        Some(there) => *there = new,
        None => all.push(new),
    }
}

/// One thing that a change of status tells the Job's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) is_warning: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// Gives what two statuses differ in that is worth an event.
pub(crate) fn told(old: Option<&JobStatus>, new: &JobStatus) -> Vec<Told> {
    let mut all = Vec::new();
    for condition in new.conditions.iter().flatten() {
        let before = old.and_then(|old| {
            let mut all = old.conditions.iter().flatten();
            all.find(|before| before.type_ == condition.type_)
        });
        if before.is_some_and(|before| before.status == condition.status) {
            continue;
        }
        let is_on = condition.status == "True";
        let own = |text: &Option<String>| text.clone().unwrap_or_default();
        let (is_warning, reason, message) = match (condition.type_.as_str(), is_on) {
            (COMPLETE, true) => (false, "Completed".to_owned(), "Job completed".to_owned()),
            (FAILED, true) => (true, own(&condition.reason), own(&condition.message)),
            (SUSPENDED, true) => (false, "Suspended".to_owned(), "Job suspended".to_owned()),
            (SUSPENDED, false) => (false, "Resumed".to_owned(), "Job resumed".to_owned()),
            _ => continue,
        };
        all.push(Told { is_warning, reason, message });
    }
    all
}
