//! The decision about all hosts together.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::idle::{Places, is_marked};
use super::{Action, Memory, Observed};
use crate::context::node_of;
use crate::objects::{is_active, is_deleting, name, pod_condition};

/// Gives all that is to be done now. More hosts come before fewer: while pods have no room, none is removed, and one
/// that was to go is taken back. At most one host goes at a time.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let waiting = without_room(observed, now);
    let mut memory = observed.memory.clone();
    let mut actions = Vec::new();
    if waiting.is_empty() {
        actions.extend(fewer(observed, &mut memory, now));
    } else {
        memory.idle.clear();
        let marked = observed.nodes.iter().filter(|node| is_marked(node));
        actions.extend(marked.map(|node| Action::Unmark(Arc::clone(node))));
        let pause = span(observed.hooks.add_again_after);
        let is_due = memory.asked.is_none_or(|asked| now.duration_since(asked) >= pause);
        if observed.hooks.add.is_some() && is_due {
            memory.asked = Some(now);
            actions.push(Action::AddHost(waiting));
        }
    }
    if memory != observed.memory {
        actions.push(Action::Remember(memory));
    }
    actions
}

/// The pods that the scheduler has found no node for, and not only since a moment.
fn without_room(observed: &Observed, now: Timestamp) -> Vec<Arc<Pod>> {
    let settled = span(observed.hooks.look_every);
    let waits = |pod: &&Arc<Pod>| {
        let condition = pod_condition(pod, "PodScheduled");
        let refused = condition
            .filter(|one| one.status == "False" && one.reason.as_deref() == Some("Unschedulable"));
        let since = refused.and_then(|one| one.last_transition_time.as_ref());
        node_of(pod).is_none()
            && is_active(pod)
            && since.is_some_and(|since| now.duration_since(since.0) >= settled)
    };
    observed.pods.iter().filter(waits).cloned().collect()
}

fn fewer(observed: &Observed, memory: &mut Memory, now: Timestamp) -> Vec<Action> {
    if observed.hooks.remove.is_none() {
        return Vec::new();
    }
    let places = Places::new(observed);
    let marked: Vec<_> = observed.nodes.iter().filter(|node| is_marked(node)).collect();
    if !marked.is_empty() {
        memory.idle.clear();
        return marked.into_iter().flat_map(|node| go_on(&places, node)).collect();
    }
    let idle: Vec<_> = observed.nodes.iter().filter(|node| places.is_idle(node)).collect();
    let names: Vec<&str> = idle.iter().map(|node| name(&node.metadata)).collect();
    memory.idle.retain(|known, _| names.contains(&known.as_str()));
    for name in names {
        memory.idle.entry(name.to_owned()).or_insert(now);
    }
    let wanted = span(observed.hooks.idle_after);
    let ripe = idle.into_iter().find(|node| {
        let since = memory.idle.get(name(&node.metadata));
        since.is_some_and(|since| now.duration_since(*since) >= wanted)
    });
    ripe.map(|node| Action::Mark(Arc::clone(node))).into_iter().collect()
}

/// Empties a marked node, and then has it removed.
fn go_on(places: &Places<'_>, node: &Arc<k8s_openapi::api::core::v1::Node>) -> Vec<Action> {
    let left = places.to_move(node);
    if left.is_empty() {
        return vec![Action::RemoveHost(Arc::clone(node))];
    }
    let left = left.into_iter().filter(|pod| !is_deleting(&pod.metadata));
    left.map(|pod| Action::Evict(Arc::clone(pod))).collect()
}

fn span(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
