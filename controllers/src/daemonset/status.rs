//! What a DaemonSet says of itself.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};

use super::node::Fit;
use super::observe::{Place, Plan};
use crate::objects::is_ready;

/// Counts nodes, not pods: one with two pods counts by the older.
///
/// *Source:* `DaemonSetStatus` in the API reference.
pub(super) fn status(set: &DaemonSet, plan: &Plan) -> DaemonSetStatus {
    let old = set.status.clone().unwrap_or_default();
    let wanted = || plan.places.values().filter(|place| place.fit == Fit::Wanted);
    let first = |place: &&Place| place.staying().next().cloned();
    let firsts = || wanted().filter_map(|place| first(&place));
    let n_wanted = wanted().count();
    let n_available = firsts().filter(|pod| plan.is_available(pod)).count();
    let misplaced =
        plan.places.values().filter(|place| place.fit != Fit::Wanted && !place.pods.is_empty());
    DaemonSetStatus {
        desired_number_scheduled: count(n_wanted),
        current_number_scheduled: count(wanted().filter(|place| !place.pods.is_empty()).count()),
        number_misscheduled: count(misplaced.count()),
        number_ready: count(firsts().filter(|pod| is_ready(pod)).count()),
        updated_number_scheduled: nonzero(firsts().filter(|pod| plan.is_updated(pod)).count()),
        number_available: nonzero(n_available),
        number_unavailable: nonzero(n_wanted.saturating_sub(n_available)),
        observed_generation: set.metadata.generation,
        collision_count: old.collision_count,
        conditions: old.conditions,
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Zero is left out on the wire, so it is left out here and compares equal.
fn nonzero(n: usize) -> Option<i32> {
    Some(count(n)).filter(|n| *n > 0)
}

/// Gives a status in the form in which two are compared: zeros left out.
pub(super) fn normal(status: Option<&DaemonSetStatus>) -> Option<DaemonSetStatus> {
    let mut status = status.cloned()?;
    let counts = [
        &mut status.updated_number_scheduled,
        &mut status.number_available,
        &mut status.number_unavailable,
        &mut status.collision_count,
    ];
    for count in counts {
        *count = count.filter(|n| *n != 0);
    }
    status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
    Some(status)
}
