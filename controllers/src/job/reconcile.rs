//! The decision for one Job.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{
    self, COMPLETE, FAILED, FAILURE_TARGET, SUCCESS, SUSPENDED, end_of, is_finished, on,
};
use super::observe::{Pods, Rules, is_tracked};
use super::outcome::{Outcome, outcome, patience};
use super::spread::balance;
use super::status::{count, normal};
use super::track::{Tally, track};
use super::{Action, Observed};
use crate::claim::claim;
use crate::objects::{PodSelector, is_active, is_deleting};

/// `spec.managedBy` of Jobs that are this controller's.
const MANAGED_HERE: &str = "kubernetes.io/job-controller";

/// Gives all that is to be done for a Job now; nothing when it is as it should be.
///
/// Every pod's end counts exactly once, however often this is asked; there are never more active
/// pods than `parallelism` lets.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let job = &observed.job;
    let rules = Rules::of(job);
    let is_elsewhere = rules.spec.managed_by.as_deref().is_some_and(|name| name != MANAGED_HERE);
    if is_elsewhere {
        return expiry(job, &rules, now).into_iter().collect();
    }
    let mut actions = Vec::new();
    let pods = Pods::of(claimed(observed, &mut actions));
    if is_deleting(&job.metadata) {
        actions.extend(untrack(&pods.all));
        return actions;
    }
    if is_finished(job) {
        actions.extend(untrack(&pods.all));
        actions.extend(pods.active.iter().cloned().map(Action::Delete));
        actions.extend(expiry(job, &rules, now));
        return actions;
    }
    progress(job, &rules, &pods, now, &mut actions);
    actions
}

fn claimed(observed: &Observed, actions: &mut Vec<Action>) -> Vec<Arc<Pod>> {
    let job = &observed.job;
    let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref()).map(PodSelector::new);
    let takes = |pod: &Pod| {
        selector.as_ref().is_some_and(|selector| selector.takes(pod.metadata.labels.as_ref()))
    };
    let (own, claims) = claim(&job.metadata, &observed.pods, takes, is_active);
    actions.extend(claims.into_iter().map(Action::Claim));
    own
}

fn untrack(pods: &[Arc<Pod>]) -> Option<Action> {
    let tracked: Vec<Arc<Pod>> = pods.iter().filter(|pod| is_tracked(pod)).cloned().collect();
    (!tracked.is_empty()).then_some(Action::Untrack(tracked))
}

/// Gives what follows for a Job that has ended: its time to live.
fn expiry(job: &Job, rules: &Rules, now: Timestamp) -> Option<Action> {
    let ttl = rules.spec.ttl_seconds_after_finished?;
    let ended = end_of(job.status.as_ref()?)?.last_transition_time.as_ref()?.0;
    if is_deleting(&job.metadata) {
        return None;
    }
    let rest = SignedDuration::from_secs(ttl.into()) - now.duration_since(ended);
    match Duration::try_from(rest) {
        Ok(rest) if !rest.is_zero() => Some(Action::RequeueAfter(rest)),
        Ok(_) | Err(_) => Some(Action::Expire),
    }
}

fn progress(job: &Job, rules: &Rules, pods: &Pods, now: Timestamp, actions: &mut Vec<Action>) {
    let mut status = job.status.clone().unwrap_or_default();
    if !rules.is_suspended && status.start_time.is_none() {
        status.start_time = Some(Time(now));
    }
    let was_ending = has_target(&status);
    let tally = track(rules, pods, &mut status, was_ending);
    if !was_ending && let Some(outcome) = outcome(rules, pods, &tally, &status, now) {
        aim(&mut status, &outcome, now);
    }
    let mut then = Vec::new();
    if has_target(&status) {
        then.extend(pods.active.iter().cloned().map(Action::Delete));
        if is_over(pods, &tally, &status) {
            end(&mut status, now);
            then.extend(expiry_of(rules));
        }
    } else if rules.is_suspended {
        suspend(&mut status, now);
        then.extend(pods.active.iter().cloned().map(Action::Discard));
    } else {
        resume(&mut status, now);
        go_on(job, rules, pods, &tally, &status, now, &mut then);
    }
    count(&mut status, pods);
    if normal(job.status.as_ref()) != normal(Some(&status)) {
        actions.push(Action::SetStatus(Box::new(status)));
    }
    actions.extend((!tally.untrack.is_empty()).then_some(Action::Untrack(tally.untrack)));
    actions.extend(then);
}

fn go_on(
    job: &Job,
    rules: &Rules,
    pods: &Pods,
    tally: &Tally,
    status: &JobStatus,
    now: Timestamp,
    then: &mut Vec<Action>,
) {
    let balance = balance(job, rules, pods, tally, now);
    then.extend(balance.discard.into_iter().map(Action::Discard));
    if !balance.create.is_empty() {
        then.push(Action::Create(balance.create));
    }
    let deadline = patience(rules, status, now).and_then(|rest| Duration::try_from(rest).ok());
    then.extend(deadline.into_iter().chain(balance.pause).min().map(Action::RequeueAfter));
}

fn has_target(status: &JobStatus) -> bool {
    on(status, FAILURE_TARGET).or_else(|| on(status, SUCCESS)).is_some()
}

fn aim(status: &mut JobStatus, outcome: &Outcome, now: Timestamp) {
    let (kind, reason, message) = match outcome {
        Outcome::Failure(reason, message) => (FAILURE_TARGET, *reason, message),
        Outcome::Success(reason, message) => (SUCCESS, *reason, message),
    };
    conditions::set(status, kind, true, (reason, message), now);
}

/// Says whether every pod has ended and is counted.
fn is_over(pods: &Pods, tally: &Tally, status: &JobStatus) -> bool {
    let waiting = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    pods.active.is_empty()
        && pods.terminating.is_empty()
        && tally.n_left == 0
        && tally.untrack.is_empty()
        && is_empty(&waiting.succeeded)
        && is_empty(&waiting.failed)
}

/// Writes the end that the target named before. *Source:* KEP-3850, KEP-3998: the two steps.
fn end(status: &mut JobStatus, now: Timestamp) {
    let target = on(status, FAILURE_TARGET).map(|target| (FAILED, target.clone()));
    let target = target.or_else(|| on(status, SUCCESS).map(|target| (COMPLETE, target.clone())));
    let Some((kind, target)) = target else { return };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (reason, message) = (text(&target.reason), text(&target.message));
    conditions::set(status, kind, true, (&reason, &message), now);
    if kind == COMPLETE {
        status.completion_time = Some(Time(now));
    }
}

/// The time to live begins with the status that is about to be written.
fn expiry_of(rules: &Rules) -> Option<Action> {
    let ttl = u64::try_from(rules.spec.ttl_seconds_after_finished?).ok()?;
    Some(Action::RequeueAfter(Duration::from_secs(ttl)))
}

fn suspend(status: &mut JobStatus, now: Timestamp) {
    conditions::set(status, SUSPENDED, true, ("JobSuspended", "Job suspended"), now);
    status.start_time = None;
}

fn resume(status: &mut JobStatus, now: Timestamp) {
    if on(status, SUSPENDED).is_some() {
        conditions::set(status, SUSPENDED, false, ("JobResumed", "Job resumed"), now);
        status.start_time = Some(Time(now));
    }
}
