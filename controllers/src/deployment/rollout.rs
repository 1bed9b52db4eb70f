//! The two strategies, scaling while a rollout runs, and how much history stays.

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::plan::{Planned, Sets};
use super::proportion::{Part, share};
use super::{Action, Observed, revision};
use crate::objects::{controller_of, is_deleting, is_terminal, uid};

/// A history limit of this size means none. *Source:* the API reference.
const NO_LIMIT: i32 = i32::MAX;

/// Says whether the user has changed the size since the ReplicaSets were last scaled.
///
/// Recreate with several at work is not scaled: its old ones go to zero anyway.
pub(super) fn is_scaling(sets: &Sets, recreate: bool) -> bool {
    let active: Vec<&Planned> = sets.all().filter(|planned| planned.replicas > 0).collect();
    if recreate && active.len() > 1 {
        return false;
    }
    active.iter().any(|planned| planned.number(revision::DESIRED).is_some_and(|n| n != sets.wanted))
}

/// Brings the whole to the wanted size without changing the mix of templates.
pub(super) fn rescale(sets: &mut Sets) {
    let (wanted, surge) = (sets.wanted, sets.bounds.surge);
    let n_active = sets.all().filter(|planned| planned.replicas > 0).count();
    if n_active <= 1 {
        if let Some(only) = active_or_latest(sets) {
            only.scale(wanted, wanted, surge);
        }
    } else if is_saturated(sets) {
        sets.old.iter_mut().for_each(|old| old.scale(0, wanted, surge));
    } else {
        rescale_all(sets);
    }
}

/// Gives the one ReplicaSet that has pods; without any the new one, else the youngest.
fn active_or_latest(sets: &mut Sets) -> Option<&mut Planned> {
    let has_pods = |planned: &Planned| planned.replicas > 0;
    if let Some(index) = sets.old.iter().position(has_pods) {
        return sets.old.get_mut(index);
    }
    match &mut sets.new {
        Some(new) => Some(new),
        None => sets.old.last_mut(),
    }
}

fn is_saturated(sets: &Sets) -> bool {
    sets.new.as_ref().is_some_and(|new| {
        new.replicas == sets.wanted
            && new.number(revision::DESIRED) == Some(sets.wanted)
            && new.available() == sets.wanted
    })
}

fn rescale_all(sets: &mut Sets) {
    let (wanted, surge) = (sets.wanted, sets.bounds.surge);
    let max_now = if wanted > 0 { wanted + surge } else { 0 };
    let to_add = max_now - sets.total();
    let mut active: Vec<&mut Planned> =
        sets.all_mut().filter(|planned| planned.replicas > 0).collect();
    // Growing, the largest and youngest come first; shrinking, the largest and oldest.
    active.sort_by_key(|planned| {
        let created =
            planned.set.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
        (-planned.replicas, if to_add > 0 { -created } else { created })
    });
    let part = |planned: &&mut Planned| Part {
        replicas: planned.replicas,
        max_before: planned.number(revision::MAX).unwrap_or(0),
    };
    let parts: Vec<Part> = active.iter().map(part).collect();
    for (planned, size) in active.into_iter().zip(share(&parts, to_add, wanted, max_now)) {
        planned.scale(size, wanted, surge);
    }
}

/// One step of RollingUpdate: grow the new within the surge, else shrink the old within what may
/// be unavailable. *Source:* Kubernetes docs, "Deployment: Rolling Update Deployment".
pub(super) fn roll(sets: &mut Sets) {
    let Some(new) = &sets.new else { return };
    let size = sets.size_of_new();
    if size != new.replicas {
        return sets.scale_new(size);
    }
    let new_unavailable = (new.replicas - new.available()).max(0);
    let spare = sets.total() - sets.least_available() - new_unavailable;
    if spare > 0 {
        drop_unhealthy(sets, spare);
        drop_available(sets);
    }
}

/// Takes away old pods that serve nobody, at most `spare`.
fn drop_unhealthy(sets: &mut Sets, spare: i32) {
    let mut left = spare;
    for index in 0..sets.old.len() {
        let Some(old) = sets.old.get(index) else { return };
        let n = left.min(old.replicas - old.available()).max(0);
        if n > 0 {
            let size = old.replicas - n;
            left -= n;
            sets.scale_old(index, size);
        }
    }
}

/// Takes away old pods that serve, as many as are available beyond the least.
fn drop_available(sets: &mut Sets) {
    let mut left = sets.available() - sets.least_available();
    for index in 0..sets.old.len() {
        let Some(old) = sets.old.get(index) else { return };
        let n = left.min(old.replicas).max(0);
        if n > 0 {
            let size = old.replicas - n;
            left -= n;
            sets.scale_old(index, size);
        }
    }
}

/// What Recreate does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recreate {
    /// The old ReplicaSets go to zero.
    Emptied,
    /// Old pods are still there.
    Waiting,
    /// The new ReplicaSet may have its size.
    Free,
}

/// One step of Recreate.
pub(super) fn recreate(sets: &mut Sets, observed: &Observed) -> Recreate {
    let has_old = sets.old.iter().any(|old| old.replicas > 0);
    if has_old {
        for index in 0..sets.old.len() {
            if sets.old.get(index).is_some_and(|old| old.replicas > 0) {
                sets.scale_old(index, 0);
            }
        }
        return Recreate::Emptied;
    }
    if old_pods_run(sets, observed) {
        return Recreate::Waiting;
    }
    if sets.new.as_ref().is_some_and(|new| new.replicas != sets.wanted) {
        sets.scale_new(sets.wanted);
    }
    Recreate::Free
}

fn old_pods_run(sets: &Sets, observed: &Observed) -> bool {
    let new_uid = sets.new.as_ref().map_or("", |new| uid(&new.set.metadata));
    let counted = |old: &Planned| old.set.status.as_ref().is_some_and(|s| s.replicas > 0);
    sets.old.iter().any(counted)
        || observed.pods.iter().any(|pod| {
            !is_terminal(pod) && controller_of(&pod.metadata).is_some_and(|c| c.uid != new_uid)
        })
}

/// Gives the old ReplicaSets that history no longer keeps, lowest revision first.
pub(super) fn expired(sets: &Sets, limit: Option<i32>) -> Vec<Action> {
    let limit = limit.unwrap_or(10);
    if limit == NO_LIMIT {
        return Vec::new();
    }
    let mut old: Vec<&Planned> =
        sets.old.iter().filter(|old| !is_deleting(&old.set.metadata)).collect();
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|old| revision::of(&old.set.metadata));
    let empty = |old: &&&Planned| old.replicas == 0 && is_settled(&old.set);
    let first = old.iter().take(excess).filter(empty);
    first.map(|old| Action::Delete(old.set.clone())).collect()
}

fn is_settled(set: &ReplicaSet) -> bool {
    let Some(status) = &set.status else { return false };
    status.replicas == 0 && status.observed_generation >= set.metadata.generation
}
