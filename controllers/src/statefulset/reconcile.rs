//! The decision for one StatefulSet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity::{ordinal_of, revision_of};
use super::order::{Order, arrange};
use super::plan::Plan;
use super::status::{normal, status};
use super::update::roll;
use super::{Action, Observed};
use crate::claim::claim;
use crate::history;
use crate::objects::{
    PodSelector, available_in, controller_reference, is_active, is_deleting, name,
};

/// Label of a revision's hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// Gives all that is to be done for a StatefulSet now; nothing when it is as it should be.
///
/// There is never a second pod of an ordinal: a pod is made only when none of the name is there,
/// not even one that is being deleted.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let set = &observed.set;
    let mut actions = Vec::new();
    let pods = claim_pods(observed, &mut actions);
    let revisions = claim_revisions(observed, &mut actions);
    let (current, update) = choose(set, &revisions, &mut actions);
    let plan = Plan::new(set, &pods, current, update, now);
    if !is_deleting(&set.metadata) {
        if arrange(observed, &plan, &mut actions) == Order::Settled && !plan.rules.on_delete {
            roll(&plan, &mut actions);
        }
        actions.extend(expired(set, &plan, &revisions));
    }
    let new = status(set, &plan);
    if normal(set.status.as_ref()) != normal(Some(&new)) {
        actions.push(Action::SetStatus(Box::new(new)));
    }
    actions.extend(next_look(&plan).map(Action::RequeueAfter));
    actions
}

fn claim_pods(observed: &Observed, actions: &mut Vec<Action>) -> Vec<Arc<Pod>> {
    let set = &observed.set;
    let selector = set.spec.as_ref().map(|spec| PodSelector::new(&spec.selector));
    let takes = |pod: &Pod| {
        selector.as_ref().is_some_and(|selector| selector.takes(pod.metadata.labels.as_ref()))
            && ordinal_of(set, pod).is_some()
    };
    let (own, claims) = claim(&set.metadata, &observed.pods, takes, is_active);
    actions.extend(claims.into_iter().map(Action::Claim));
    own
}

fn claim_revisions(observed: &Observed, actions: &mut Vec<Action>) -> Vec<Arc<ControllerRevision>> {
    let set = &observed.set;
    let selector = set.spec.as_ref().map(|spec| PodSelector::new(&spec.selector));
    let takes = |revision: &ControllerRevision| {
        let labels = revision.metadata.labels.as_ref();
        selector.as_ref().is_some_and(|selector| selector.takes(labels))
    };
    let is_free = |revision: &ControllerRevision| !is_deleting(&revision.metadata);
    let (own, claims) = claim(&set.metadata, &observed.revisions, takes, is_free);
    actions.extend(claims.into_iter().map(Action::ClaimRevision));
    own
}

/// Gives the current and the update revision.
fn choose(
    set: &StatefulSet,
    own: &[Arc<ControllerRevision>],
    actions: &mut Vec<Action>,
) -> (Arc<ControllerRevision>, Arc<ControllerRevision>) {
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let status = set.status.as_ref();
    let collisions = status.and_then(|status| status.collision_count);
    let owner = controller_reference(set);
    let wanted = history::wanted(owner, &set.metadata, &template, collisions, HASH_LABEL);
    let (update, step) = history::choose(own, wanted);
    actions.extend(step.filter(|_| !is_deleting(&set.metadata)).map(Action::Revise));
    let named = status.and_then(|status| status.current_revision.as_deref());
    let current = own.iter().find(|revision| Some(name(&revision.metadata)) == named);
    (current.map_or_else(|| Arc::clone(&update), Arc::clone), update)
}

fn expired(set: &StatefulSet, plan: &Plan, own: &[Arc<ControllerRevision>]) -> Vec<Action> {
    let mut live: BTreeSet<String> = plan.all().map(|pod| revision_of(pod).to_owned()).collect();
    live.extend([plan.current_name().to_owned(), plan.update_name().to_owned()]);
    let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    history::expired(own, &live, limit).into_iter().map(Action::Revise).collect()
}

/// A ready pod becomes available by the mere passing of time.
fn next_look(plan: &Plan) -> Option<Duration> {
    let rest = plan
        .all()
        .filter_map(|pod| available_in(pod, plan.rules.min_ready_seconds, plan.now))
        .filter(|rest| !rest.is_zero())
        .min()?;
    Duration::try_from(rest).ok()
}

/// Gives the status that makes the next revision of the template have another name.
pub fn name_taken(set: &StatefulSet) -> StatefulSetStatus {
    let mut status = set.status.clone().unwrap_or_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
    status
}
