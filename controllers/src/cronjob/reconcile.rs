//! The decision for one CronJob.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::schedule::{Schedule, ScheduleError};
use super::{Action, Cause, Observed};
use crate::job::is_finished;
use crate::objects::{controller_reference, is_deleting, name, namespace, uid};

/// Annotation of a Job: the time that it was made for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Missed times beyond which the owner is warned: the clock jumped, or nobody was here for long.
/// *Source:* Kubernetes docs, "CronJob: limitations".
const MISSED_MANY: usize = 100;

/// Gives all that is to be done for a CronJob now; nothing between two times.
///
/// Of several times that were missed only the latest is made up for. A Job has its time in its
/// name, so that none is made twice. *Source:* Kubernetes docs, "CronJob".
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let cron = &observed.cron;
    let spec = cron.spec.clone().unwrap_or_default();
    let mut status = observe(observed);
    let mut actions = history(observed, &spec);
    if !is_deleting(&cron.metadata) && spec.suspend != Some(true) {
        start(observed, &spec, &mut status, now, &mut actions);
    }
    if changed(cron.status.as_ref(), &status) {
        let at = actions.iter().position(|action| matches!(action, Action::RequeueAfter(_)));
        actions.insert(at.unwrap_or(actions.len()), Action::SetStatus(Box::new(status)));
    }
    actions
}

fn changed(old: Option<&CronJobStatus>, new: &CronJobStatus) -> bool {
    let plain = |status: &CronJobStatus| {
        let active = status.active.iter().flatten();
        let uids: Vec<String> = active.filter_map(|one| one.uid.clone()).collect();
        (uids, status.last_schedule_time.clone(), status.last_successful_time.clone())
    };
    plain(&old.cloned().unwrap_or_default()) != plain(new)
}

/// Gives the status as the Jobs tell: which run, and when one last succeeded.
fn observe(observed: &Observed) -> CronJobStatus {
    let old = observed.cron.status.clone().unwrap_or_default();
    let active = running(observed).map(|job| reference(job)).collect::<Vec<_>>();
    let ends = observed.jobs.iter().filter_map(|job| job.status.as_ref()?.completion_time.clone());
    let last = ends.chain(old.last_successful_time).max_by_key(|time| time.0);
    CronJobStatus {
        active: Some(active).filter(|all| !all.is_empty()),
        last_schedule_time: old.last_schedule_time,
        last_successful_time: last,
    }
}

fn running(observed: &Observed) -> impl Iterator<Item = &Arc<Job>> {
    observed.jobs.iter().filter(|job| !is_finished(job) && !is_deleting(&job.metadata))
}

fn reference(job: &Job) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some("Job".to_owned()),
        name: job.metadata.name.clone(),
        namespace: job.metadata.namespace.clone(),
        uid: job.metadata.uid.clone(),
        resource_version: job.metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}

/// Gives the ended Jobs that history no longer keeps, oldest first.
fn history(observed: &Observed, spec: &CronJobSpec) -> Vec<Action> {
    let limits = [
        ("Complete", spec.successful_jobs_history_limit.unwrap_or(3)),
        ("Failed", spec.failed_jobs_history_limit.unwrap_or(1)),
    ];
    let ended = |kind: &str| {
        let on = |job: &&Arc<Job>| {
            let conditions = job.status.iter().flat_map(|s| s.conditions.iter().flatten());
            { conditions }.any(|c| c.type_ == kind && c.status == "True")
        };
        let mut jobs: Vec<Arc<Job>> = observed
            .jobs
            .iter()
            .filter(|job| !is_deleting(&job.metadata))
            .filter(on)
            .cloned()
            .collect();
        let began = |job: &Job| job.status.as_ref()?.start_time.as_ref().map(|time| time.0);
        jobs.sort_by_key(|job| (began(job), name(&job.metadata).to_owned()));
        jobs
    };
    let surplus = |(kind, limit): (&str, i32)| {
        let jobs = ended(kind);
        let n = jobs.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        jobs.into_iter().take(n).map(|job| Action::Delete(job, Cause::History)).collect::<Vec<_>>()
    };
    limits.into_iter().flat_map(surplus).collect()
}

fn start(
    observed: &Observed,
    spec: &CronJobSpec,
    status: &mut CronJobStatus,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    let schedule = match Schedule::parse(&spec.schedule, spec.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            let reason = match &error {
                ScheduleError::Unreadable(_) => "UnparseableSchedule",
                ScheduleError::UnknownZone(_) => "UnknownTimeZone",
            };
            actions.push(Action::Tell(true, reason, error.to_string()));
            return;
        }
    };
    if let Some((due, many)) = due(&observed.cron, spec, &schedule, now) {
        if many {
            let words = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            actions.push(Action::Tell(true, "TooManyMissedTimes", words.to_owned()));
        }
        meet(observed, spec, &schedule, due, status, actions);
    }
    let next =
        schedule.after(now).and_then(|next| Duration::try_from(next.duration_since(now)).ok());
    actions.extend(next.map(Action::RequeueAfter));
}

/// Gives the latest time that is due and not too late.
fn due(
    cron: &CronJob,
    spec: &CronJobSpec,
    schedule: &Schedule,
    now: Timestamp,
) -> Option<(Timestamp, bool)> {
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let made = cron.metadata.creation_timestamp.as_ref();
    let mut from = last.or(made).map(|time| time.0)?;
    if let Some(seconds) = spec.starting_deadline_seconds {
        let oldest = now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(from);
        // The end of the stretch that is too late is too late itself by less than a second.
        from = from.max(oldest.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(oldest));
    }
    schedule.latest(from, now, MISSED_MANY)
}

/// Starts the Job of a time, as far as the concurrency policy lets.
fn meet(
    observed: &Observed,
    spec: &CronJobSpec,
    schedule: &Schedule,
    due: Timestamp,
    status: &mut CronJobStatus,
    actions: &mut Vec<Action>,
) {
    let job = new_job(&observed.cron, spec, schedule, due);
    if observed.jobs.iter().any(|there| there.metadata.name == job.metadata.name) {
        status.last_schedule_time = Some(Time(due));
        return;
    }
    let running: Vec<&Arc<Job>> = running(observed).collect();
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !running.is_empty() => {
            let words = "Not starting job because prior execution is running and concurrency policy is Forbid";
            actions.push(Action::Tell(false, "JobAlreadyActive", words.to_owned()));
            return;
        }
        Some("Replace") => {
            let replaced = |job: &Arc<Job>| Action::Delete(Arc::clone(job), Cause::Replaced);
            actions.extend(running.into_iter().map(replaced));
            status.active = None;
        }
        Some(_) | None => {}
    }
    actions.push(Action::Create(Box::new(job)));
    status.last_schedule_time = Some(Time(due));
}

/// Makes the Job of a time; its name ends in the minutes since 1970.
fn new_job(cron: &CronJob, spec: &CronJobSpec, schedule: &Schedule, due: Timestamp) -> Job {
    let meta = spec.job_template.metadata.clone().unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    let local = due.to_zoned(schedule.zone().clone());
    let offset = local.offset();
    let shown = if spec.time_zone.is_some() {
        local.timestamp().display_with_offset(offset).to_string()
    } else {
        due.to_string()
    };
    annotations.insert(SCHEDULED.to_owned(), shown);
    debug_assert!(!uid(&cron.metadata).is_empty());
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", name(&cron.metadata), due.as_second().div_euclid(60))),
            namespace: Some(namespace(&cron.metadata).to_owned()),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    }
}
