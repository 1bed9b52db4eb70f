//! The conditions Available, Progressing and ReplicaFailure, with upstream's words.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

pub(super) const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub(super) const PAUSED: &str = "DeploymentPaused";

/// A deadline of this many seconds means none. *Source:* the API reference's default for old kinds.
const NO_DEADLINE_SECONDS: i32 = i32::MAX;

/// The conditions of a status, one per type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Conditions(pub(super) Vec<DeploymentCondition>);

impl Conditions {
    pub(super) fn of(deployment: &Deployment) -> Conditions {
        let status = deployment.status.as_ref();
        Conditions(status.and_then(|status| status.conditions.clone()).unwrap_or_default())
    }

    pub(super) fn get(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.0.iter().find(|condition| condition.type_ == kind)
    }

    pub(super) fn reason(&self, kind: &str) -> &str {
        self.get(kind).and_then(|condition| condition.reason.as_deref()).unwrap_or_default()
    }

    pub(super) fn remove(&mut self, kind: &str) {
        self.0.retain(|condition| condition.type_ != kind);
    }

    /// Sets a condition, unless status and reason are what they were.
    pub(super) fn set(
        &mut self,
        kind: &str,
        status: &str,
        reason: &str,
        message: String,
        now: Timestamp,
    ) {
        let same = |old: &DeploymentCondition| {
            old.status == status && old.reason.as_deref() == Some(reason)
        };
        if !self.get(kind).is_some_and(same) {
            self.renew(kind, status, reason, message, now);
        }
    }

    /// Sets a condition and its `lastUpdateTime`, whatever it was.
    pub(super) fn renew(
        &mut self,
        kind: &str,
        status: &str,
        reason: &str,
        message: String,
        now: Timestamp,
    ) {
        let before = self.get(kind).filter(|old| old.status == status);
        let since = before.and_then(|old| old.last_transition_time.clone());
        self.remove(kind);
        self.0.push(DeploymentCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: Some(Time(now)),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        });
    }

    /// Notes that a rollout was paused or goes on, so that the pause does not count as standstill.
    pub(super) fn note_pause(&mut self, deployment: &Deployment, now: Timestamp) {
        let reason = self.reason(PROGRESSING);
        if deadline(deployment).is_none() || reason == TIMED_OUT {
            return;
        }
        let was = reason == PAUSED;
        let (reason, message) = match (is_paused(deployment), was) {
            (true, false) => (PAUSED, "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            (true, true) | (false, false) => return,
        };
        self.set(PROGRESSING, "Unknown", reason, message.to_owned(), now);
    }

    pub(super) fn note_availability(&mut self, available: i32, least: i32, now: Timestamp) {
        if available >= least {
            let message = "Deployment has minimum availability.".to_owned();
            self.set(AVAILABLE, "True", "MinimumReplicasAvailable", message, now);
        } else {
            let message = "Deployment does not have minimum availability.".to_owned();
            self.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message, now);
        }
    }

    /// Takes over the failure of a ReplicaSet, the first that has one.
    pub(super) fn note_failure<'a>(&mut self, sets: impl Iterator<Item = &'a ReplicaSet>) {
        let failure = sets
            .filter_map(|set| set.status.as_ref()?.conditions.as_ref())
            .flatten()
            .find(|condition| condition.type_ == REPLICA_FAILURE);
        let Some(failure) = failure else { return self.remove(REPLICA_FAILURE) };
        let new = DeploymentCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: failure.status.clone(),
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            last_update_time: failure.last_transition_time.clone(),
            last_transition_time: failure.last_transition_time.clone(),
        };
        self.remove(REPLICA_FAILURE);
        self.0.push(new);
    }

    /// Gives how long a rollout may still stand still; `None` when nothing is waited for.
    pub(super) fn patience(
        &self,
        deployment: &Deployment,
        now: Timestamp,
    ) -> Option<SignedDuration> {
        let deadline = deadline(deployment)?;
        let progressing = self.get(PROGRESSING)?;
        let reason = self.reason(PROGRESSING);
        if reason == NEW_AVAILABLE || reason == TIMED_OUT {
            return None;
        }
        let from = progressing.last_update_time.as_ref()?.0;
        Some(deadline - now.duration_since(from))
    }
}

/// Says whether the rollout is paused.
pub(super) fn is_paused(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false)
}

/// Gives `progressDeadlineSeconds`, `None` when there is no deadline.
pub(super) fn deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != NO_DEADLINE_SECONDS).then(|| SignedDuration::from_secs(seconds.into()))
}
