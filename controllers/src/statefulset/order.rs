//! Bringing pods to their wanted number, in order or all at once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::claims::{Ready, before_pod, retain};
use super::identity::{missing_labels, new_pod};
use super::plan::Plan;
use super::{Action, Observed};
use crate::objects::{is_deleting, is_terminal, phase};

/// How far the pods are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Something is missing or under way: no update now.
    Waiting,
    /// All wanted pods are there, no other is.
    Settled,
}

/// Makes missing pods, lowest ordinal first, replaces ended ones and then removes the condemned,
/// highest first.
///
/// In order, each step waits until what it builds on is available; at once, nothing waits.
/// *Source:* Kubernetes docs, "StatefulSets: Deployment and Scaling Guarantees".
pub(super) fn arrange(observed: &Observed, plan: &Plan, actions: &mut Vec<Action>) -> Order {
    for (ordinal, pod) in &plan.condemned {
        actions.extend(retain(observed, *ordinal, pod, true));
    }
    let mut order = Order::Settled;
    for ordinal in plan.rules.ordinals() {
        if fill(observed, plan, ordinal, actions) == Order::Waiting {
            order = Order::Waiting;
            if plan.rules.in_order {
                return order;
            }
        }
    }
    if shrink(plan, actions) == Order::Waiting { Order::Waiting } else { order }
}

/// Sees to one wanted ordinal; tells whether those after it have to wait (in order).
fn fill(observed: &Observed, plan: &Plan, ordinal: i32, actions: &mut Vec<Action>) -> Order {
    let Some(pod) = plan.wanted.get(&ordinal) else {
        return match before_pod(observed, ordinal, None) {
            Ready::Wait => Order::Waiting,
            Ready::After(first) => {
                let (template, revision) = plan.template_at(&observed.set, ordinal);
                actions.extend(first);
                let pod = new_pod(&observed.set, ordinal, template, revision);
                actions.push(Action::Create(Box::new(pod)));
                Order::Waiting
            }
        };
    };
    if is_terminal(pod) {
        actions.extend((!is_deleting(&pod.metadata)).then(|| Action::Delete(Arc::clone(pod))));
        return Order::Waiting;
    }
    if phase(pod) == "Pending" && !is_deleting(&pod.metadata) {
        // Somebody may have deleted a claim before its pod began.
        if let Ready::After(first) = before_pod(observed, ordinal, Some(pod)) {
            actions.extend(first);
        }
    }
    if !is_deleting(&pod.metadata) {
        let labels = missing_labels(&observed.set, ordinal, pod);
        actions.extend((!labels.is_empty()).then(|| Action::Relabel(Arc::clone(pod), labels)));
        actions.extend(retain(observed, ordinal, pod, false));
    }
    if plan.rules.in_order && !plan.is_available(pod) { Order::Waiting } else { Order::Settled }
}

fn shrink(plan: &Plan, actions: &mut Vec<Action>) -> Order {
    let unhealthy = plan.all().find(|pod| !Plan::is_healthy(pod));
    for pod in plan.condemned.values().rev() {
        if is_deleting(&pod.metadata) {
            if plan.rules.in_order {
                return Order::Waiting;
            }
            continue;
        }
        if is_terminal(pod) {
            // It runs no more: its going takes nothing from anybody. Upstream stands still with two.
            actions.push(Action::Delete(Arc::clone(pod)));
            return Order::Waiting;
        }
        let is_first_unhealthy = unhealthy.is_some_and(|first| Arc::ptr_eq(first, pod));
        if plan.rules.in_order && !plan.is_available(pod) && !is_first_unhealthy {
            return Order::Waiting;
        }
        actions.push(Action::Delete(Arc::clone(pod)));
        if plan.rules.in_order {
            return Order::Waiting;
        }
    }
    if plan.condemned.is_empty() { Order::Settled } else { Order::Waiting }
}

/// Says whether a pod at rest blocks an update of those below it.
pub(super) fn is_unavailable(plan: &Plan, pod: Option<&Arc<Pod>>) -> bool {
    pod.is_none_or(|pod| !plan.is_available(pod))
}
