//! The decision for one DaemonSet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::node::Fit;
use super::observe::{Place, Plan};
use super::pod::{HASH_LABEL, hash_of, new_pod, node_of};
use super::status::{normal, status};
use super::update::roll;
use super::{Action, Observed, PASS_PODS_MAX};
use crate::claim::claim;
use crate::history;
use crate::objects::{PodSelector, controller_reference, is_active, is_deleting, name, phase};

/// First pause before a failed pod is replaced on a node where one has failed lately, doubled with
/// each. *Source:* kube-controller-manager's failed-pods back-off.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause. *Source:* as above.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// Gives all that is to be done for a DaemonSet now; nothing when it is as it should be.
///
/// While nodes are unknown, nothing is made or deleted.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let set = &observed.set;
    let mut actions = Vec::new();
    let pods = claim_pods(observed, &mut actions);
    let revisions = claim_revisions(observed, &mut actions);
    let Some(nodes) = observed.nodes.as_ref().filter(|_| !is_deleting(&set.metadata)) else {
        return actions;
    };
    let current = choose(set, &revisions, &mut actions);
    let labels = current.metadata.labels.as_ref();
    let hash = labels.and_then(|labels| labels.get(HASH_LABEL)).map_or("", String::as_str);
    let plan = Plan::new(set, nodes, &pods, hash, now);
    let mut pass = Pass { delete: Vec::new(), create: Vec::new(), again: None };
    pass.arrange(observed, &plan, now);
    if pass.is_idle() && !plan.on_delete {
        let step = roll(&plan);
        pass.delete.extend(step.delete);
        pass.create.extend(step.create);
    }
    actions.extend(expired(set, &current, &pods, &revisions));
    pass.finish(observed, &plan, actions)
}

fn claim_pods(observed: &Observed, actions: &mut Vec<Action>) -> Vec<Arc<Pod>> {
    let set = &observed.set;
    let selector = set.spec.as_ref().map(|spec| PodSelector::new(&spec.selector));
    let takes = |pod: &Pod| {
        selector.as_ref().is_some_and(|selector| selector.takes(pod.metadata.labels.as_ref()))
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

fn choose(
    set: &DaemonSet,
    own: &[Arc<ControllerRevision>],
    actions: &mut Vec<Action>,
) -> Arc<ControllerRevision> {
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let owner = controller_reference(set);
    let wanted = history::wanted(owner, &set.metadata, &template, collisions, HASH_LABEL);
    let (current, step) = history::choose(own, wanted);
    actions.extend(step.map(Action::Revise));
    current
}

fn expired(
    set: &DaemonSet,
    current: &ControllerRevision,
    pods: &[Arc<Pod>],
    own: &[Arc<ControllerRevision>],
) -> Vec<Action> {
    let worn: BTreeSet<&str> = pods.iter().map(|pod| hash_of(pod)).collect();
    let is_worn = |revision: &&Arc<ControllerRevision>| {
        let labels = revision.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(HASH_LABEL)).is_some_and(|h| worn.contains(h.as_str()))
    };
    let used = own.iter().filter(is_worn).map(|revision| name(&revision.metadata).to_owned());
    let live: BTreeSet<String> = used.chain([name(&current.metadata).to_owned()]).collect();
    let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    history::expired(own, &live, limit).into_iter().map(Action::Revise).collect()
}

/// What one pass gathers.
struct Pass {
    delete: Vec<Arc<Pod>>,
    create: Vec<String>,
    again: Option<Duration>,
}

impl Pass {
    fn is_idle(&self) -> bool {
        self.delete.is_empty() && self.create.is_empty()
    }

    /// Brings each node to one pod, or none.
    fn arrange(&mut self, observed: &Observed, plan: &Plan, now: Timestamp) {
        for (node, place) in &plan.places {
            match place.fit {
                Fit::Wanted if place.pods.is_empty() => self.create.push(node.clone()),
                Fit::Wanted | Fit::Tolerated => self.keep_one(observed, plan, place, now),
                Fit::Unwanted => {
                    let all = place.pods.iter().filter(|pod| !is_deleting(&pod.metadata));
                    self.delete.extend(all.cloned());
                }
            }
        }
        // One that was never bound is nobody's to collect; the bound ones go with their node.
        let unbound = |pod: &&Arc<Pod>| {
            let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            bound.unwrap_or_default().is_empty() && !is_deleting(&pod.metadata)
        };
        self.delete.extend(plan.lost.iter().filter(unbound).cloned());
    }

    /// Removes what has ended, and what is one too many; an update may have two for a while.
    fn keep_one(&mut self, observed: &Observed, plan: &Plan, place: &Place, now: Timestamp) {
        for pod in place.pods.iter().filter(|pod| !is_deleting(&pod.metadata)) {
            match phase(pod) {
                "Succeeded" => self.delete.push(Arc::clone(pod)),
                "Failed" => match pause(observed, pod, now) {
                    Some(rest) => self.again = self.again.into_iter().chain([rest]).min(),
                    None => self.delete.push(Arc::clone(pod)),
                },
                _ => {}
            }
        }
        let (new, old) = place.pair(plan);
        let surplus: Vec<Arc<Pod>> = if plan.max_surge > 0 {
            let kept = [new, old];
            let extra = |pod: &&Arc<Pod>| !kept.iter().flatten().any(|one| Arc::ptr_eq(one, pod));
            place.staying().filter(extra).cloned().collect()
        } else {
            place.staying().skip(1).cloned().collect()
        };
        self.delete.extend(surplus);
    }

    fn finish(self, observed: &Observed, plan: &Plan, mut actions: Vec<Action>) -> Vec<Action> {
        let set = &observed.set;
        actions.extend(self.delete.into_iter().take(PASS_PODS_MAX).map(Action::Delete));
        let nodes = self.create.iter().take(PASS_PODS_MAX);
        let pods: Vec<Pod> = nodes.map(|node| new_pod(set, node, &plan.hash)).collect();
        actions.extend((!pods.is_empty()).then_some(Action::Create(pods)));
        let new = status(set, plan);
        if normal(set.status.as_ref()).as_ref() != Some(&new) {
            actions.push(Action::SetStatus(Box::new(new)));
        }
        let next = plan.next_available().and_then(|rest| Duration::try_from(rest).ok());
        actions.extend(next.into_iter().chain(self.again).min().map(Action::RequeueAfter));
        actions
    }
}

/// Gives how long a failed pod still stays before the next one is tried on its node.
fn pause(observed: &Observed, pod: &Pod, now: Timestamp) -> Option<Duration> {
    let n = *observed.failures.get(node_of(pod)?)?;
    let pause = PAUSE_FIRST.saturating_mul(1 << n.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let made = pod.metadata.creation_timestamp.as_ref()?.0;
    let age = Duration::try_from(now.duration_since(made)).unwrap_or_default();
    Some(pause.saturating_sub(age)).filter(|rest| n > 0 && !rest.is_zero())
}

/// Gives the status that makes the next revision of the template have another name.
pub fn name_taken(set: &DaemonSet) -> DaemonSetStatus {
    let mut status = set.status.clone().unwrap_or_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
    status
}
