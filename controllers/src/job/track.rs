//! Counting ends exactly once: a pod's uid is in the status before its finalizer goes, and in the
//! counter only after that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::indexes::Indexes;
use super::observe::{FAILURES, IGNORED, Pods, Rules, is_tracked, number};
use super::policy::{Verdict, judge};
use crate::objects::{phase, uid};

/// Most pods that wait in a status to be counted; the others come when these are. *Source:*
/// kube-controller-manager's `maxUncountedPods`.
pub(super) const UNCOUNTED_MAX: usize = 500;

/// The ends of a Job's pods.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) completed: Indexes,
    /// Indexes that have failed for good.
    pub(super) failed_indexes: Indexes,
    /// Counted and waiting to be.
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    /// Pods whose end is in the status that is to be written.
    pub(super) untrack: Vec<Arc<Pod>>,
    /// Ended pods that are not counted yet.
    pub(super) n_left: usize,
    /// Why the failure policy ends the Job.
    pub(super) fail_job: Option<String>,
}

/// Brings the counters of a status up to date. `is_ending`: the Job's outcome is known.
///
/// *Source:* Kubernetes docs, "Jobs: Job tracking with finalizers"; KEP-2307.
pub(super) fn track(rules: &Rules, pods: &Pods, status: &mut JobStatus, is_ending: bool) -> Tally {
    let bound = rules.n_indexes();
    let parse = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), bound);
    let mut tally = Tally {
        completed: parse(&status.completed_indexes),
        failed_indexes: parse(&status.failed_indexes),
        ..Tally::default()
    };
    settle(pods, status);
    let replaced = latest_attempts(rules, pods);
    let mut waiting = status.uncounted_terminated_pods.clone().unwrap_or_default();
    for pod in pods.all.iter().filter(|pod| is_tracked(pod)) {
        end(rules, pod, &replaced, is_ending, &mut waiting, &mut tally);
    }
    let n = |list: &Option<Vec<String>>| {
        i32::try_from(list.as_ref().map_or(0, Vec::len)).unwrap_or(i32::MAX)
    };
    if rules.is_indexed {
        status.succeeded = i32::try_from(tally.completed.len()).ok();
        status.completed_indexes = Some(tally.completed.to_string());
    }
    if rules.per_index.is_some() {
        status.failed_indexes = Some(tally.failed_indexes.to_string());
    }
    tally.succeeded = status.succeeded.unwrap_or(0) + n(&waiting.succeeded);
    tally.failed = status.failed.unwrap_or(0) + n(&waiting.failed);
    status.uncounted_terminated_pods = Some(waiting);
    tally
}

/// Moves those whose finalizer is gone from the waiting lists into the counters.
fn settle(pods: &Pods, status: &mut JobStatus) {
    let tracked: HashMap<&str, bool> =
        pods.all.iter().map(|pod| (uid(&pod.metadata), is_tracked(pod))).collect();
    let waits = |uid: &String| tracked.get(uid.as_str()).copied().unwrap_or(false);
    let Some(waiting) = &mut status.uncounted_terminated_pods else { return };
    let lists = [
        (&mut waiting.succeeded, &mut status.succeeded),
        (&mut waiting.failed, &mut status.failed),
    ];
    for (list, counter) in lists {
        let Some(uids) = list else { continue };
        let before = uids.len();
        uids.retain(waits);
        let n_counted = i32::try_from(before - uids.len()).unwrap_or(0);
        *counter = Some(counter.unwrap_or(0) + n_counted);
    }
}

/// Gives the number of attempts at each index, by its newest pod.
fn latest_attempts(rules: &Rules, pods: &Pods) -> BTreeMap<i32, i32> {
    let mut latest = BTreeMap::new();
    for pod in &pods.all {
        let Some(index) = rules.index_of(pod) else { continue };
        let attempt = attempts(pod);
        let known: &mut i32 = latest.entry(index).or_insert(attempt);
        *known = attempt.max(*known);
    }
    latest
}

fn attempts(pod: &Pod) -> i32 {
    number(pod, FAILURES).saturating_add(number(pod, IGNORED))
}

fn end(
    rules: &Rules,
    pod: &Arc<Pod>,
    latest: &BTreeMap<i32, i32>,
    is_ending: bool,
    waiting: &mut UncountedTerminatedPods,
    tally: &mut Tally,
) {
    let id = uid(&pod.metadata).to_owned();
    let is_in = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|l| l.contains(&id));
    if is_in(&waiting.succeeded) || is_in(&waiting.failed) {
        tally.untrack.push(Arc::clone(pod));
        return;
    }
    let n_waiting = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
    if n_waiting(&waiting.succeeded) + n_waiting(&waiting.failed) >= UNCOUNTED_MAX {
        let ended = phase(pod) == "Succeeded" || rules.has_failed(pod);
        tally.n_left += usize::from(ended);
        return;
    }
    if phase(pod) == "Succeeded" {
        match rules.index_of(pod) {
            Some(index) if rules.is_indexed => tally.completed.add(index),
            None if rules.is_indexed => {}
            Some(_) | None => waiting.succeeded.get_or_insert_default().push(id),
        }
        tally.untrack.push(Arc::clone(pod));
    } else if rules.has_failed(pod) {
        fail(rules, pod, latest, is_ending, waiting, tally);
    }
}

fn fail(
    rules: &Rules,
    pod: &Arc<Pod>,
    latest: &BTreeMap<i32, i32>,
    is_ending: bool,
    waiting: &mut UncountedTerminatedPods,
    tally: &mut Tally,
) {
    let verdict = judge(rules, pod);
    let index = rules.index_of(pod).filter(|_| rules.is_indexed);
    if let (Some(limit), Some(index)) = (rules.per_index, index) {
        let over = verdict == Verdict::FailIndex
            || (verdict == Verdict::Count && number(pod, FAILURES) >= limit);
        // What the end of the Job takes away has not failed by itself.
        if over && !is_ending && !tally.completed.has(index) {
            tally.failed_indexes.add(index);
        }
        // It stays until the next attempt carries its count on, lest the count be lost.
        let is_latest = latest.get(&index).is_none_or(|newest| *newest <= attempts(pod));
        let done = tally.failed_indexes.has(index) || tally.completed.has(index);
        let is_fatal = matches!(verdict, Verdict::FailJob(_));
        if is_latest && !done && !is_ending && !is_fatal {
            return;
        }
    }
    if let Verdict::FailJob(why) = &verdict {
        tally.fail_job.get_or_insert_with(|| why.clone());
    }
    if verdict != Verdict::Ignore {
        waiting.failed.get_or_insert_default().push(uid(&pod.metadata).to_owned());
    }
    tally.untrack.push(Arc::clone(pod));
}
