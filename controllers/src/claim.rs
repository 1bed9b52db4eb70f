//! Whose an object is: what a controller keeps, takes in and lets go, by owner and selector.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::objects::{controller_of, is_controlled_by, is_deleting};

/// A change of an object's controlling owner.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim<K> {
    /// Become the controller of an object.
    Adopt(Arc<K>),
    /// Stop being the controller of an object.
    Release(Arc<K>),
}

/// Splits objects: those that count as the owner's, and what is to be done about the rest.
///
/// `takes` is the owner's selector; `is_free` says whether an object may still change hands, which
/// one that ends may not. A controlled object that is not selected is released, a selected one that
/// nobody controls is adopted; an owner that is being deleted keeps what it has and takes nothing.
/// *Source:* Kubernetes docs, "ReplicaSet: Isolating Pods" and "Non-Template Pod acquisitions".
pub fn claim<K: Resource>(
    owner: &ObjectMeta,
    objects: &[Arc<K>],
    takes: impl Fn(&K) -> bool,
    is_free: impl Fn(&K) -> bool,
) -> (Vec<Arc<K>>, Vec<Claim<K>>) {
    let (mut own, mut changes) = (Vec::new(), Vec::new());
    let leaving = is_deleting(owner);
    for object in objects {
        let selected = takes(object);
        if is_controlled_by(object.meta(), owner) {
            if selected || leaving {
                own.push(Arc::clone(object));
            } else if is_free(object) {
                changes.push(Claim::Release(Arc::clone(object)));
            }
        } else if controller_of(object.meta()).is_none() && selected && !leaving && is_free(object)
        {
            own.push(Arc::clone(object));
            changes.push(Claim::Adopt(Arc::clone(object)));
        }
    }
    (own, changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn check(owner_leaves: bool, controller: &str, selected: bool, free: bool, expected: &str) {
        let owner = json!({"uid": "me", "deletionTimestamp": owner_leaves.then_some("2026-01-01T00:00:00Z")});
        let mut pod = json!({"metadata": {"name": "p"}});
        if !controller.is_empty() {
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "X",
                "name": "x", "uid": controller, "controller": true}]);
        }
        let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).unwrap());
        let owner: ObjectMeta = serde_json::from_value(owner).unwrap();
        let (own, changes) = claim(&owner, &[pod], |_| selected, |_| free);
        let changes = changes.iter().map(|change| match change {
            Claim::Adopt(_) => "adopt",
            Claim::Release(_) => "release",
        });
        let own = own.iter().map(|_| "own");
        assert_eq!(own.chain(changes).collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn what_is_selected_and_nobodys_is_taken_in_and_the_rest_let_go() {
        check(false, "me", true, true, "own");
        check(false, "me", false, true, "release");
        check(false, "me", false, false, "");
        check(false, "", true, true, "own adopt");
        check(false, "", true, false, "");
        check(false, "", false, true, "");
        check(false, "other", true, true, "");
        check(true, "", true, true, "");
        check(true, "me", false, true, "own");
    }
}
