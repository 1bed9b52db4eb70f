//! Which pods a Job lacks, and which it has too many of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};

use super::observe::{FAILURES, IGNORED, INDEX, Pods, Rules, number};
use super::policy::{Verdict, judge};
use super::track::Tally;
use super::{PASS_PODS_MAX, TRACKING, pace};
use crate::objects::name;
use crate::pods::from_template;
use crate::replicaset::by_loss;

/// Variable that tells an indexed pod its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// What brings the pods to their wanted number.
#[derive(Debug, Default)]
pub(super) struct Balance {
    pub(super) create: Vec<Pod>,
    pub(super) discard: Vec<Arc<Pod>>,
    /// Pods are missing and must wait so long.
    pub(super) pause: Option<Duration>,
}

/// Compares what is active with what is wanted; never more than `parallelism` at once.
pub(super) fn balance(
    job: &Job,
    rules: &Rules,
    pods: &Pods,
    tally: &Tally,
    now: Timestamp,
) -> Balance {
    if rules.is_indexed {
        return indexed(job, rules, pods, tally, now);
    }
    let wanted = match rules.completions {
        Some(completions) => rules.parallelism.min(completions - tally.succeeded).max(0),
        None if tally.succeeded > 0 => count(&pods.active).min(rules.parallelism),
        None => rules.parallelism,
    };
    let excess = count(&pods.active) - wanted;
    if excess > 0 {
        let discard = surplus(pods.active.clone(), excess, now);
        return Balance { discard, ..Balance::default() };
    }
    let leaving = if rules.waits_for_end { count(&pods.terminating) } else { 0 };
    let missing = usize::try_from(-excess - leaving).unwrap_or(0).min(PASS_PODS_MAX);
    if missing == 0 {
        return Balance::default();
    }
    if let Some(pause) = pace::of_job(rules, pods, now) {
        return Balance { pause: Some(pause), ..Balance::default() };
    }
    Balance { create: vec![new_pod(job, rules); missing], ..Balance::default() }
}

fn count(pods: &[Arc<Pod>]) -> i32 {
    i32::try_from(pods.len()).unwrap_or(i32::MAX)
}

fn surplus(active: Vec<Arc<Pod>>, excess: i32, now: Timestamp) -> Vec<Arc<Pod>> {
    let n = usize::try_from(excess).unwrap_or(0).min(PASS_PODS_MAX);
    let related = active.clone();
    by_loss(active, &related, now).into_iter().take(n).collect()
}

fn indexed(job: &Job, rules: &Rules, pods: &Pods, tally: &Tally, now: Timestamp) -> Balance {
    let mut balance = Balance::default();
    let mut active: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
    for pod in &pods.active {
        // One without a place, and a second one at its place, go.
        match rules.index_of(pod).filter(|index| !is_over(tally, *index)) {
            Some(index) if !active.contains_key(&index) => {
                active.insert(index, Arc::clone(pod));
            }
            Some(_) | None => balance.discard.push(Arc::clone(pod)),
        }
    }
    let n_over = tally.completed.len() + tally.failed_indexes.len();
    let left = rules.n_indexes() - i32::try_from(n_over).unwrap_or(i32::MAX);
    let wanted = rules.parallelism.min(left).max(0);
    let n_active = i32::try_from(active.len()).unwrap_or(i32::MAX);
    if n_active > wanted {
        let all = active.into_values().collect();
        balance.discard.extend(surplus(all, n_active - wanted, now));
        return balance;
    }
    let occupied: BTreeSet<i32> =
        pods.terminating.iter().filter_map(|pod| rules.index_of(pod)).collect();
    let leaving = if rules.waits_for_end { occupied.len() } else { 0 };
    let missing = usize::try_from(wanted - n_active).unwrap_or(0).saturating_sub(leaving);
    let waits = |index: &i32| rules.waits_for_end && occupied.contains(index);
    let free = (0..rules.n_indexes())
        .filter(|index| !active.contains_key(index) && !is_over(tally, *index))
        .filter(|index| !waits(index));
    fill(job, rules, pods, (free, missing.min(PASS_PODS_MAX)), now, &mut balance);
    balance
}

fn is_over(tally: &Tally, index: i32) -> bool {
    tally.completed.has(index) || tally.failed_indexes.has(index)
}

/// Makes pods for the lowest free indexes that need not wait.
fn fill(
    job: &Job,
    rules: &Rules,
    pods: &Pods,
    (free, missing): (impl Iterator<Item = i32>, usize),
    now: Timestamp,
    balance: &mut Balance,
) {
    let of_job = if rules.per_index.is_none() { pace::of_job(rules, pods, now) } else { None };
    if missing > 0 && of_job.is_some() {
        balance.pause = of_job;
        return;
    }
    for index in free {
        if balance.create.len() == missing {
            return;
        }
        let pause = rules.per_index.and_then(|_| pace::of_index(rules, pods, index, now));
        match pause {
            Some(pause) => balance.pause = balance.pause.into_iter().chain([pause]).min(),
            None => balance.create.push(indexed_pod(job, rules, pods, index)),
        }
    }
}

/// Makes a pod of the Job; the server completes its name.
fn new_pod(job: &Job, rules: &Rules) -> Pod {
    let prefix = format!("{}-", name(&job.metadata));
    let mut pod = from_template(job, rules.spec.template.clone(), prefix);
    pod.metadata.finalizers.get_or_insert_default().push(TRACKING.to_owned());
    pod
}

/// Makes the pod of an index: its annotation, label, host name and variable say which.
///
/// *Source:* Kubernetes docs, "Jobs: Completion mode".
fn indexed_pod(job: &Job, rules: &Rules, pods: &Pods, index: i32) -> Pod {
    let mut pod = new_pod(job, rules);
    let name = name(&job.metadata);
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if rules.per_index.is_some() {
        let (failures, ignored) = attempts(rules, pods, index);
        annotations.insert(FAILURES.to_owned(), failures.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED.to_owned(), ignored.to_string());
        }
    }
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(INDEX.to_owned(), index.to_string());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(format!("{name}-{index}"));
    spec.containers.iter_mut().for_each(tell_index);
    spec.init_containers.iter_mut().flatten().for_each(tell_index);
    pod
}

fn tell_index(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field_ref = ObjectFieldSelector {
        api_version: None,
        field_path: format!("metadata.annotations['{INDEX}']"),
    };
    env.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
        ..EnvVar::default()
    });
}

/// Gives the failures of an index so far: those that count, and those that do not.
fn attempts(rules: &Rules, pods: &Pods, index: i32) -> (i32, i32) {
    let failed = pods.all.iter().filter(|pod| rules.has_failed(pod));
    let of_index = failed.filter(|pod| rules.index_of(pod) == Some(index));
    let counts = of_index.map(|pod| (number(pod, FAILURES), number(pod, IGNORED), pod));
    let Some((failures, ignored, pod)) =
        counts.max_by_key(|(failures, ignored, _)| failures.saturating_add(*ignored))
    else {
        return (0, 0);
    };
    match judge(rules, pod) {
        Verdict::Ignore => (failures, ignored + 1),
        Verdict::Count | Verdict::FailIndex | Verdict::FailJob(_) => (failures + 1, ignored),
    }
}
