//! What a StatefulSet says of itself.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity::revision_of;
use super::plan::Plan;
use crate::objects::{is_deleting, is_ready, phase};

/// Counts the own pods and names the revisions.
///
/// The current revision moves on when every wanted pod is of the update revision and ready.
/// *Source:* `StatefulSetStatus` in the API reference.
pub(super) fn status(set: &StatefulSet, plan: &Plan) -> StatefulSetStatus {
    let made = || plan.all().filter(|pod| !phase(pod).is_empty());
    let running = |pod: &&std::sync::Arc<Pod>| phase(pod) == "Running" && is_ready(pod);
    let of = |revision: &str| {
        let all = made().filter(|pod| !is_deleting(&pod.metadata) && revision_of(pod) == revision);
        count(all.count())
    };
    let old = set.status.clone().unwrap_or_default();
    let mut status = StatefulSetStatus {
        replicas: count(made().count()),
        ready_replicas: Some(count(made().filter(running).count())),
        available_replicas: Some(count(made().filter(|pod| plan.is_available(pod)).count())),
        current_replicas: Some(of(plan.current_name())),
        updated_replicas: Some(of(plan.update_name())),
        current_revision: Some(plan.current_name().to_owned()),
        update_revision: Some(plan.update_name().to_owned()),
        observed_generation: set.metadata.generation,
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    let wanted = plan.rules.replicas;
    let complete = status.updated_replicas == Some(wanted)
        && status.replicas == wanted
        && status.ready_replicas == Some(wanted);
    if !plan.rules.on_delete && complete {
        status.current_revision.clone_from(&status.update_revision);
        status.current_replicas = status.updated_replicas;
    }
    status
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Gives a status in the form in which two are compared: zeros left out.
pub(super) fn normal(status: Option<&StatefulSetStatus>) -> StatefulSetStatus {
    let mut status = status.cloned().unwrap_or_default();
    let counts = [
        &mut status.ready_replicas,
        &mut status.available_replicas,
        &mut status.current_replicas,
        &mut status.updated_replicas,
        &mut status.collision_count,
    ];
    for count in counts {
        *count = count.filter(|n| *n != 0);
    }
    status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
    status
}
