//! Whether the outcome of a Job is known.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::JobStatus;

use super::observe::{Pods, Rules, containers};
use super::policy::fulfilled;
use super::track::Tally;
use crate::objects::phase;

/// How a Job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has failed: reason and message.
    Failure(&'static str, String),
    /// It has succeeded: reason and message.
    Success(&'static str, String),
}

/// Gives how the Job ends, once that is known.
///
/// *Source:* Kubernetes docs, "Jobs: Handling Pod and container failures", "Job termination and
/// cleanup", "Success policy".
pub(super) fn outcome(
    rules: &Rules,
    pods: &Pods,
    tally: &Tally,
    status: &JobStatus,
    now: Timestamp,
) -> Option<Outcome> {
    if let Some(why) = &tally.fail_job {
        return Some(Outcome::Failure("PodFailurePolicy", why.clone()));
    }
    if tally.failed > rules.backoff_limit || restarts_exceed(rules, pods) {
        let message = "Job has reached the specified backoff limit".to_owned();
        return Some(Outcome::Failure("BackoffLimitExceeded", message));
    }
    if patience(rules, status, now).is_some_and(|rest| rest <= SignedDuration::ZERO) {
        let message = "Job was active longer than specified deadline".to_owned();
        return Some(Outcome::Failure("DeadlineExceeded", message));
    }
    by_indexes(rules, tally).or_else(|| by_completions(rules, pods, tally))
}

fn by_indexes(rules: &Rules, tally: &Tally) -> Option<Outcome> {
    let n_failed = tally.failed_indexes.len();
    let most = rules.spec.max_failed_indexes.and_then(|most| usize::try_from(most).ok());
    if most.is_some_and(|most| n_failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes".to_owned();
        return Some(Outcome::Failure("MaxFailedIndexesExceeded", message));
    }
    if let Some(number) = fulfilled(rules, &tally.completed) {
        return Some(Outcome::Success("SuccessPolicy", format!("Matched rules at index {number}")));
    }
    let n_indexes = usize::try_from(rules.n_indexes()).unwrap_or(0);
    if n_failed > 0 && n_failed + tally.completed.len() >= n_indexes {
        return Some(Outcome::Failure("FailedIndexes", "Job has failed indexes".to_owned()));
    }
    None
}

fn by_completions(rules: &Rules, pods: &Pods, tally: &Tally) -> Option<Outcome> {
    let is_done = match rules.completions {
        Some(completions) => tally.succeeded >= completions,
        // A work queue is done when one has found it empty and the others have ended too.
        None => tally.succeeded > 0 && pods.active.is_empty(),
    };
    is_done.then(|| {
        let message = "Reached expected number of succeeded pods".to_owned();
        Outcome::Success("CompletionsReached", message)
    })
}

/// Containers that restart within their pod count too when the pods may do so.
fn restarts_exceed(rules: &Rules, pods: &Pods) -> bool {
    let spec = rules.spec.template.spec.as_ref();
    if spec.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let running = pods.active.iter().filter(|pod| matches!(phase(pod), "Pending" | "Running"));
    let restarts: i32 =
        running.flat_map(|pod| containers(pod)).map(|container| container.restart_count).sum();
    if rules.backoff_limit == 0 { restarts > 0 } else { restarts >= rules.backoff_limit }
}

/// Gives how long the Job may still be active; `None` without a deadline.
pub(super) fn patience(
    rules: &Rules,
    status: &JobStatus,
    now: Timestamp,
) -> Option<SignedDuration> {
    let seconds = rules.spec.active_deadline_seconds.filter(|_| !rules.is_suspended)?;
    let begun = status.start_time.as_ref()?.0;
    Some(SignedDuration::from_secs(seconds) - now.duration_since(begun))
}
