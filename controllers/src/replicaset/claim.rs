//! Which pods are a ReplicaSet's own: by controller and selector.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::{Action, Observed};
use crate::objects::{PodSelector, controller_of, is_active, is_controlled_by, is_deleting};

/// Splits the observed pods: those that count as own, and what is to be done about the rest.
///
/// An own pod that the selector no longer takes is released, an orphan that it takes is adopted.
/// *Source:* Kubernetes docs, "ReplicaSet: Isolating Pods" and "Non-Template Pod acquisitions".
pub(super) fn claim(observed: &Observed) -> (Vec<Arc<Pod>>, Vec<Action>) {
    let set = &observed.replica_set;
    let selector = PodSelector::new(&set.spec.clone().unwrap_or_default().selector);
    let (mut own, mut actions) = (Vec::new(), Vec::new());
    for pod in &observed.pods {
        let selected = selector.takes(pod.metadata.labels.as_ref());
        let controlled = is_controlled_by(&pod.metadata, &set.metadata);
        let orphan = controller_of(&pod.metadata).is_none();
        if controlled && selected {
            own.push(Arc::clone(pod));
        } else if is_deleting(&set.metadata) || !is_active(pod) {
            continue;
        } else if controlled {
            actions.push(Action::Release(Arc::clone(pod)));
        } else if orphan && selected {
            own.push(Arc::clone(pod));
            actions.push(Action::Adopt(Arc::clone(pod)));
        }
    }
    (own, actions)
}
