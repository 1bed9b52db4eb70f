//! RollingUpdate: pods of another revision go, highest ordinal first.

use std::sync::Arc;

use super::Action;
use super::identity::revision_of;
use super::order::is_unavailable;
use super::plan::Plan;
use crate::objects::is_deleting;

/// Deletes the pods that may be replaced now.
///
/// Without `maxUnavailable` one at a time, each after those above it are available. With it, as
/// many as keep the unavailable within the bound; pods that are unavailable already cost nothing
/// and go too. *Source:* Kubernetes docs, "StatefulSets: Rolling Updates".
pub(super) fn roll(plan: &Plan, actions: &mut Vec<Action>) {
    match plan.rules.max_unavailable {
        Some(most) if most > 1 || !plan.rules.in_order => roll_some(plan, most, actions),
        Some(_) | None => roll_one(plan, actions),
    }
}

fn roll_one(plan: &Plan, actions: &mut Vec<Action>) {
    for ordinal in plan.rules.ordinals().rev() {
        if ordinal < plan.rules.update_from() {
            return;
        }
        let Some(pod) = plan.wanted.get(&ordinal) else { return };
        if revision_of(pod) != plan.update_name() && !is_deleting(&pod.metadata) {
            actions.push(Action::Delete(Arc::clone(pod)));
            return;
        }
        if is_unavailable(plan, Some(pod)) {
            return;
        }
    }
}

fn roll_some(plan: &Plan, most: i32, actions: &mut Vec<Action>) {
    let all = plan.rules.ordinals();
    let unavailable = all.clone().filter(|at| is_unavailable(plan, plan.wanted.get(at))).count();
    let mut left = usize::try_from(most).unwrap_or(1).saturating_sub(unavailable);
    for ordinal in all.rev().take_while(|ordinal| *ordinal >= plan.rules.update_from()) {
        let Some(pod) = plan.wanted.get(&ordinal) else { continue };
        if revision_of(pod) == plan.update_name() || is_deleting(&pod.metadata) {
            continue;
        }
        if is_unavailable(plan, Some(pod)) {
            actions.push(Action::Delete(Arc::clone(pod)));
        } else if left > 0 {
            left -= 1;
            actions.push(Action::Delete(Arc::clone(pod)));
        }
    }
}
