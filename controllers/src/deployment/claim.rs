//! Which ReplicaSets are a Deployment's own.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::{Action, Observed};
use crate::objects::{PodSelector, controller_of, is_controlled_by, is_deleting};

/// Splits the observed ReplicaSets: the own ones by age, and whom to adopt or release.
pub(super) fn claim(observed: &Observed) -> (Vec<Arc<ReplicaSet>>, Vec<Action>) {
    let meta = &observed.deployment.metadata;
    let spec = observed.deployment.spec.clone().unwrap_or_default();
    let selector = PodSelector::new(&spec.selector);
    let (mut own, mut actions) = (Vec::new(), Vec::new());
    for set in &observed.replica_sets {
        let selected = selector.takes(set.metadata.labels.as_ref());
        if is_controlled_by(&set.metadata, meta) {
            if selected || is_deleting(meta) {
                own.push(Arc::clone(set));
            } else {
                actions.push(Action::Release(Arc::clone(set)));
            }
            continue;
        }
        let free = controller_of(&set.metadata).is_none() && !is_deleting(&set.metadata);
        if free && selected && !is_deleting(meta) {
            own.push(Arc::clone(set));
            actions.push(Action::Adopt(Arc::clone(set)));
        }
    }
    own.sort_by(|a, b| age(a).cmp(&age(b)));
    (own, actions)
}

fn age(set: &ReplicaSet) -> (Option<jiff::Timestamp>, &str) {
    let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (created, crate::objects::name(&set.metadata))
}
