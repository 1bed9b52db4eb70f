//! What a ReplicaSet says of itself.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};

use super::{Failure, Observed};
use crate::objects::{
    PodSelector, available_in, is_active, is_controlled_by, is_deleting, is_ready, is_terminal,
};

/// Counts the own pods; `failure` becomes the condition `ReplicaFailure`.
///
/// *Source:* `ReplicaSetStatus` in the API reference.
pub fn status(observed: &Observed, failure: Option<&Failure>, now: Timestamp) -> ReplicaSetStatus {
    let set = &observed.replica_set;
    let spec = set.spec.clone().unwrap_or_default();
    let template = spec.template.unwrap_or_default().metadata.unwrap_or_default().labels;
    let has_all =
        PodSelector::new(&LabelSelector { match_labels: template, ..LabelSelector::default() });
    let selector = PodSelector::new(&spec.selector);
    let own = |pod: &&Pod| {
        selector.takes(pod.metadata.labels.as_ref())
            && is_controlled_by(&pod.metadata, &set.metadata)
    };
    let all: Vec<&Pod> = observed.pods.iter().map(|pod| &**pod).filter(own).collect();
    let active = || all.iter().filter(|pod| is_active(pod));
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let available = |pod: &&&Pod| available_in(pod, min_ready, now).is_some_and(|d| d.is_zero());
    let leaving = |pod: &&&Pod| is_deleting(&pod.metadata) && !is_terminal(pod);
    let old = set.status.clone().unwrap_or_default();
    ReplicaSetStatus {
        replicas: count(active().count()),
        fully_labeled_replicas: nonzero(
            active().filter(|pod| has_all.takes(pod.metadata.labels.as_ref())).count(),
        ),
        ready_replicas: nonzero(active().filter(|pod| is_ready(pod)).count()),
        available_replicas: nonzero(active().filter(available).count()),
        terminating_replicas: Some(count(all.iter().filter(leaving).count())),
        observed_generation: set.metadata.generation,
        conditions: conditions(old.conditions, failure, now),
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Zero is left out on the wire, so it is left out here and compares equal.
fn nonzero(n: usize) -> Option<i32> {
    Some(count(n)).filter(|n| *n > 0)
}

fn conditions(
    old: Option<Vec<ReplicaSetCondition>>,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut all = old.unwrap_or_default();
    let before = all.iter().position(|condition| condition.type_ == "ReplicaFailure");
    let before = before.map(|index| all.remove(index));
    if let Some(failure) = failure {
        let same = before.filter(|condition| condition.reason.as_deref() == Some(failure.reason));
        all.push(same.unwrap_or_else(|| ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }));
    }
    Some(all).filter(|all| !all.is_empty())
}

/// Says whether two statuses are the same to a reader, whoever wrote zeros or left them out.
pub(super) fn same(a: &ReplicaSetStatus, b: &ReplicaSetStatus) -> bool {
    let zero = |n: Option<i32>| n.unwrap_or(0);
    a.replicas == b.replicas
        && zero(a.fully_labeled_replicas) == zero(b.fully_labeled_replicas)
        && zero(a.ready_replicas) == zero(b.ready_replicas)
        && zero(a.available_replicas) == zero(b.available_replicas)
        && zero(a.terminating_replicas) == zero(b.terminating_replicas)
        && a.observed_generation.unwrap_or(0) == b.observed_generation.unwrap_or(0)
        && a.conditions.as_deref().unwrap_or_default()
            == b.conditions.as_deref().unwrap_or_default()
}
