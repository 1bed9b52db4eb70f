//! What a Deployment says of itself.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSetStatus};

use super::conditions::{Conditions, NEW_AVAILABLE, PROGRESSING, TIMED_OUT, deadline};
use super::plan::Sets;
use crate::objects::name;

/// Sums the ReplicaSets' statuses up; conditions are those given, plus Available.
pub(super) fn counted(
    deployment: &Deployment,
    sets: &Sets,
    mut conditions: Conditions,
    now: Timestamp,
) -> (DeploymentStatus, Conditions) {
    let sum = |count: fn(&ReplicaSetStatus) -> Option<i32>| -> i32 {
        sets.all().filter_map(|planned| planned.set.status.as_ref()).filter_map(count).sum()
    };
    let available = sum(|status| status.available_replicas);
    let replicas = sum(|status| Some(status.replicas));
    conditions.note_availability(available, sets.least_available(), now);
    let updated = sets.new.as_ref().and_then(|new| new.set.status.as_ref());
    // `replicas` in the specs, not in the statuses: pods that are yet to be made are missing too.
    let asked: i32 = sets
        .all()
        .map(|planned| planned.set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))
        .sum();
    let status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(replicas),
        updated_replicas: nonzero(updated.map_or(0, |status| status.replicas)),
        ready_replicas: nonzero(sum(|status| status.ready_replicas)),
        available_replicas: nonzero(available),
        unavailable_replicas: nonzero((asked - available).max(0)),
        terminating_replicas: Some(sum(|status| status.terminating_replicas)),
        collision_count: deployment.status.as_ref().and_then(|status| status.collision_count),
        conditions: None,
    };
    (status, conditions)
}

fn nonzero(n: i32) -> Option<i32> {
    Some(n).filter(|n| *n != 0)
}

/// Moves the condition Progressing on, for a rollout that is under way.
pub(super) fn progress(
    deployment: &Deployment,
    sets: &Sets,
    status: &DeploymentStatus,
    conditions: &mut Conditions,
    now: Timestamp,
) {
    if deadline(deployment).is_none() {
        conditions.remove(PROGRESSING);
    } else if !(status.replicas == status.updated_replicas
        && conditions.reason(PROGRESSING) == NEW_AVAILABLE)
    {
        let subject = match &sets.new {
            Some(new) => format!("ReplicaSet \"{}\"", name(&new.set.metadata)),
            None => format!("Deployment \"{}\"", name(&deployment.metadata)),
        };
        if is_complete(sets.wanted, status) {
            let message = format!("{subject} has successfully progressed.");
            conditions.set(PROGRESSING, "True", NEW_AVAILABLE, message, now);
        } else if has_progressed(deployment, status) {
            let message = format!("{subject} is progressing.");
            conditions.renew(PROGRESSING, "True", "ReplicaSetUpdated", message, now);
        } else if conditions.patience(deployment, now).is_some_and(|rest| rest.is_negative()) {
            let message = format!("{subject} has timed out progressing.");
            conditions.set(PROGRESSING, "False", TIMED_OUT, message, now);
        }
    }
    conditions.note_failure(sets.all().map(|planned| &*planned.set));
}

/// Says whether every pod is of the current template and available.
pub(super) fn is_complete(wanted: i32, status: &DeploymentStatus) -> bool {
    let n = |count: Option<i32>| count.unwrap_or(0);
    n(status.updated_replicas) == wanted
        && n(status.replicas) == wanted
        && n(status.available_replicas) == wanted
}

fn has_progressed(deployment: &Deployment, new: &DeploymentStatus) -> bool {
    let n = |count: Option<i32>| count.unwrap_or(0);
    let old = deployment.status.clone().unwrap_or_default();
    let outdated = |status: &DeploymentStatus| n(status.replicas) - n(status.updated_replicas);
    n(new.updated_replicas) > n(old.updated_replicas)
        || outdated(new) < outdated(&old)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

/// Gives a status in the form in which two are compared: zeros left out.
pub(super) fn normal(status: Option<&DeploymentStatus>) -> DeploymentStatus {
    let mut status = status.cloned().unwrap_or_default();
    let counts = [
        &mut status.replicas,
        &mut status.updated_replicas,
        &mut status.ready_replicas,
        &mut status.available_replicas,
        &mut status.unavailable_replicas,
        &mut status.terminating_replicas,
        &mut status.collision_count,
    ];
    for count in counts {
        *count = count.filter(|n| *n != 0);
    }
    status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
    status
}
