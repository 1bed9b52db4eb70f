//! The decision for one Deployment.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::conditions::{Conditions, PROGRESSING, deadline, is_paused};
use super::plan::{Sets, first_annotations};
use super::proportion::is_recreate;
use super::rollout::{self, Recreate};
use super::status::{counted, is_complete, normal, progress};
use super::{Action, Observed, revision};
use crate::claim::claim;
use crate::objects::{
    PodSelector, annotation, controller_reference, is_controlled_by, is_deleting, name,
};
use crate::template;

/// Gives all that is to be done for a Deployment now; nothing when it is as it should be.
///
/// Each step leaves the number of pods within wanted plus surge, and takes no available pod below
/// wanted minus unavailable, as far as the ReplicaSets' statuses tell.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let deployment = &observed.deployment;
    let (own, mut actions) = claimed(observed);
    let mut sets = Sets::split(observed, own);
    let mut conditions = Conditions::of(deployment);
    if is_deleting(&deployment.metadata) {
        let (status, conditions) = counted(deployment, &sets, conditions, now);
        actions.extend(set_status(deployment, status, conditions));
        return actions;
    }
    conditions.note_pause(deployment, now);
    let mut step = Step { actions, conditions, under_way: false };
    let recreate = is_recreate(deployment);
    if is_paused(deployment) || rollout::is_scaling(&sets, recreate) {
        step.number_new(observed, &mut sets, now);
        rollout::rescale(&mut sets);
    } else if recreate {
        step.recreate(observed, &mut sets, now);
    } else {
        step.roll(observed, &mut sets, now);
    }
    step.finish(observed, sets, now)
}

/// Gives the own ReplicaSets by age, and whom to adopt or release.
fn claimed(observed: &Observed) -> (Vec<Arc<ReplicaSet>>, Vec<Action>) {
    let deployment = &observed.deployment;
    let selector = deployment.spec.as_ref().map(|spec| PodSelector::new(&spec.selector));
    let takes = |set: &ReplicaSet| {
        selector.as_ref().is_some_and(|selector| selector.takes(set.metadata.labels.as_ref()))
    };
    let is_free = |set: &ReplicaSet| !is_deleting(&set.metadata);
    let (mut own, claims) = claim(&deployment.metadata, &observed.replica_sets, takes, is_free);
    let created = |set: &ReplicaSet| set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    own.sort_by(|a, b| (created(a), name(&a.metadata)).cmp(&(created(b), name(&b.metadata))));
    (own, claims.into_iter().map(Action::Claim).collect())
}

/// What one pass gathers.
struct Step {
    actions: Vec<Action>,
    conditions: Conditions,
    /// The rollout's progress counts in this pass: it is neither paused nor being scaled.
    under_way: bool,
}

impl Step {
    fn roll(&mut self, observed: &Observed, sets: &mut Sets, now: Timestamp) {
        self.under_way = true;
        if sets.new.is_none() {
            return self.create_new(observed, sets, now);
        }
        self.number_new(observed, sets, now);
        rollout::roll(sets);
    }

    fn recreate(&mut self, observed: &Observed, sets: &mut Sets, now: Timestamp) {
        self.under_way = true;
        self.number_new(observed, sets, now);
        if rollout::recreate(sets, observed) == Recreate::Free && sets.new.is_none() {
            self.create_new(observed, sets, now);
        }
    }

    /// Gives the existing new ReplicaSet and the Deployment the revision that is due.
    fn number_new(&mut self, observed: &Observed, sets: &mut Sets, now: Timestamp) {
        let deployment = &observed.deployment;
        let due = revision::next(sets.old.iter().map(|old| &*old.set));
        let Some(new) = &mut sets.new else { return };
        let meta = new.set.metadata.clone();
        for (key, value) in revision::annotations(&deployment.metadata, &meta, due) {
            new.annotate(key, value);
        }
        new.set_min_ready(min_ready(deployment));
        self.set_revision(deployment, due.max(revision::of(&meta)));
        if deadline(deployment).is_some() && self.conditions.get(PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{}\"", name(&meta));
            self.conditions.set(PROGRESSING, "True", "FoundNewReplicaSet", message, now);
        }
    }

    fn create_new(&mut self, observed: &Observed, sets: &Sets, now: Timestamp) {
        let deployment = &observed.deployment;
        let set = new_set(observed, sets);
        let due = revision::next(sets.old.iter().map(|old| &*old.set));
        if deadline(deployment).is_some() {
            let message = format!("Created new replica set \"{}\"", name(&set.metadata));
            self.conditions.set(PROGRESSING, "True", "NewReplicaSetCreated", message, now);
        }
        self.actions.push(Action::Create(Box::new(set)));
        self.set_revision(deployment, due);
    }

    fn set_revision(&mut self, deployment: &Deployment, due: i64) {
        let due = due.to_string();
        if annotation(&deployment.metadata, revision::REVISION) != Some(&due) {
            self.actions.push(Action::SetRevision(due));
        }
    }

    fn finish(mut self, observed: &Observed, sets: Sets, now: Timestamp) -> Vec<Action> {
        let deployment = &observed.deployment;
        let (status, mut conditions) = counted(deployment, &sets, self.conditions, now);
        let history = deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit);
        if self.under_way {
            progress(deployment, &sets, &status, &mut conditions, now);
        }
        if is_complete(sets.wanted, &status) || is_paused(deployment) {
            self.actions.extend(rollout::expired(&sets, history));
        }
        let patience = conditions.patience(deployment, now).filter(|_| !is_paused(deployment));
        self.actions.extend(sets.into_actions());
        self.actions.extend(set_status(deployment, status, conditions));
        if let Some(rest) = patience {
            // A second later than the deadline, which is then surely over.
            let rest = rest.max(SignedDuration::ZERO) + SignedDuration::from_secs(1);
            let rest = Duration::try_from(rest).unwrap_or(Duration::from_secs(1));
            self.actions.push(Action::RequeueAfter(rest));
        }
        self.actions
    }
}

fn set_status(
    deployment: &Deployment,
    mut status: DeploymentStatus,
    conditions: Conditions,
) -> Option<Action> {
    status.conditions = Some(conditions.0);
    let changed = normal(Some(&status)) != normal(deployment.status.as_ref());
    changed.then(|| Action::SetStatus(Box::new(status)))
}

fn min_ready(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

/// Makes the ReplicaSet of the current template, as large as the surge allows now.
fn new_set(observed: &Observed, sets: &Sets) -> ReplicaSet {
    let deployment = &observed.deployment;
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template::hash(&spec.template, collisions);
    let mut pods = spec.template;
    let meta = pods.metadata.get_or_insert_default();
    let labels = meta.labels.get_or_insert_default();
    labels.insert(template::HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector: LabelSelector = spec.selector;
    let exact = selector.match_labels.get_or_insert_default();
    exact.insert(template::HASH_LABEL.to_owned(), hash.clone());
    let size = if is_recreate(deployment) { sets.wanted } else { sets.size_of_new() };
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name(&deployment.metadata))),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(first_annotations(observed, sets)),
            owner_references: Some(vec![controller_reference(&**deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(size),
            min_ready_seconds: Some(min_ready(deployment)).filter(|seconds| *seconds != 0),
            selector,
            template: Some(pods),
        }),
        status: None,
    }
}

/// Decides what follows when a ReplicaSet of the name to be created is there already.
///
/// `None`: it is the one that was to be made. Otherwise the status to write, with one more
/// collision, so that the next name differs.
pub fn name_taken(deployment: &Deployment, existing: &Arc<ReplicaSet>) -> Option<DeploymentStatus> {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let made_from = existing.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let equal = template.zip(made_from).is_some_and(|(a, b)| template::same(a, b));
    if equal && is_controlled_by(&existing.metadata, &deployment.metadata) {
        return None;
    }
    let mut status = deployment.status.clone().unwrap_or_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
    Some(status)
}

/// Gives the status that tells why the new ReplicaSet could not be created.
pub fn creation_failed(deployment: &Deployment, why: &str, now: Timestamp) -> DeploymentStatus {
    let mut conditions = Conditions::of(deployment);
    let message =
        format!("Failed to create new replica set for \"{}\": {why}", name(&deployment.metadata));
    conditions.set(PROGRESSING, "False", "ReplicaSetCreateError", message, now);
    let mut status = deployment.status.clone().unwrap_or_default();
    status.observed_generation = deployment.metadata.generation;
    status.conditions = Some(conditions.0);
    status
}
