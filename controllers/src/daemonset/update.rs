//! RollingUpdate: within what may be unavailable, or with a second pod on some nodes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::node::Fit;
use super::observe::Plan;

/// What an update does now.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) delete: Vec<Arc<Pod>>,
    /// Nodes that get a second pod.
    pub(super) create: Vec<String>,
}

/// Gives the next step of an update.
///
/// *Source:* Kubernetes docs, "Perform a Rolling Update on a DaemonSet";
/// `RollingUpdateDaemonSet` in the API reference.
pub(super) fn roll(plan: &Plan) -> Step {
    if plan.max_surge > 0 { with_surge(plan) } else { in_place(plan) }
}

/// Deletes old pods: those that do not serve at once, others while few enough do not.
fn in_place(plan: &Plan) -> Step {
    let (mut n_unavailable, mut candidates) = (0, Vec::new());
    let mut step = Step::default();
    for place in plan.places.values().filter(|place| place.fit == Fit::Wanted) {
        let serves = place.staying().any(|pod| plan.is_available(pod));
        n_unavailable += usize::from(!serves);
        let (new, old) = place.pair(plan);
        let Some(old) = old.filter(|_| new.is_none()) else { continue };
        if serves { &mut candidates } else { &mut step.delete }.push(Arc::clone(old));
    }
    let left = plan.max_unavailable.saturating_sub(n_unavailable);
    step.delete.extend(candidates.into_iter().take(left));
    step
}

/// Makes a new pod beside an old one, and deletes the old when the new serves.
fn with_surge(plan: &Plan) -> Step {
    let (mut n_surging, mut candidates) = (0, Vec::new());
    let mut step = Step::default();
    for (node, place) in plan.places.iter().filter(|(_, place)| place.fit == Fit::Wanted) {
        match place.pair(plan) {
            (None, Some(old)) if !plan.is_available(old) => step.create.push(node.clone()),
            (None, Some(_)) => candidates.push(node.clone()),
            (Some(new), Some(old)) if plan.is_available(new) || !plan.is_available(old) => {
                step.delete.push(Arc::clone(old));
            }
            (Some(_), Some(_)) => n_surging += 1,
            (Some(_) | None, None) => {}
        }
    }
    let left = plan.max_surge.saturating_sub(n_surging);
    step.create.extend(candidates.into_iter().take(left));
    step
}
