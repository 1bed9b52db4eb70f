//! Volume claims: made before their pod, and owned by whoever takes them along when it goes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::identity::{claim_names, new_claims};
use super::{Action, Observed};
use crate::objects::{controller_reference, is_deleting, uid};

/// What the claims of one ordinal allow.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ready {
    /// The pod may be made once these are done.
    After(Vec<Action>),
    /// A claim is not known, or belongs to a pod that is gone and goes with it: the pod waits.
    Wait,
}

/// Gives what is to be done before the pod of an ordinal may be made. `pod`: the one that is there.
pub(super) fn before_pod(observed: &Observed, ordinal: i32, pod: Option<&Pod>) -> Ready {
    let wanted = new_claims(&observed.set, ordinal);
    if wanted.is_empty() {
        return Ready::After(Vec::new());
    }
    let Some(known) = &observed.claims else { return Ready::Wait };
    let mut actions = Vec::new();
    for claim in wanted {
        match known.get(crate::objects::name(&claim.metadata)) {
            None => {
                let mut claim = claim;
                let owners = owners(&observed.set, &claim, None);
                claim.metadata.owner_references = Some(owners).filter(|all| !all.is_empty());
                actions.push(Action::CreateVolume(Box::new(claim)));
            }
            Some(there) if is_stale(there, pod) => return Ready::Wait,
            Some(_) => {}
        }
    }
    Ready::After(actions)
}

/// Says whether a claim is about to go: deleted, or owned by a pod that is no more.
fn is_stale(claim: &PersistentVolumeClaim, pod: Option<&Pod>) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    let gone = |owner: &OwnerReference| {
        owner.kind == "Pod" && pod.is_none_or(|pod| uid(&pod.metadata) != owner.uid)
    };
    is_deleting(&claim.metadata) || { owners }.any(gone)
}

/// Gives the owners that the claims of a pod should have but do not. `condemned`: the pod is
/// beyond the wanted ordinals.
///
/// *Source:* Kubernetes docs, "StatefulSets: PersistentVolumeClaim retention".
pub(super) fn retain(observed: &Observed, ordinal: i32, pod: &Pod, condemned: bool) -> Vec<Action> {
    let Some(known) = &observed.claims else { return Vec::new() };
    let names = claim_names(&observed.set, ordinal);
    let there = names.iter().filter_map(|name| known.get(name));
    there
        .filter(|claim| !is_deleting(&claim.metadata))
        .filter_map(|claim| {
            let wanted = owners(&observed.set, claim, condemned.then_some(pod));
            let now = claim.metadata.owner_references.as_deref().unwrap_or_default();
            (wanted != now).then(|| Action::OwnVolume(Arc::clone(claim), wanted))
        })
        .collect()
}

/// `condemned`: the pod of the claim when it is to go for a smaller size.
fn owners(
    set: &StatefulSet,
    claim: &PersistentVolumeClaim,
    condemned: Option<&Pod>,
) -> Vec<OwnerReference> {
    let spec = set.spec.as_ref();
    let policy = spec.and_then(|spec| spec.persistent_volume_claim_retention_policy.clone());
    let policy = policy.unwrap_or_default();
    let with_set = policy.when_deleted.as_deref() == Some("Delete");
    let with_pod = policy.when_scaled.as_deref() == Some("Delete");
    let mut owners = claim.metadata.owner_references.clone().unwrap_or_default();
    let by_pod = condemned.filter(|_| with_pod).map(controller_reference);
    let by_set = (with_set && by_pod.is_none()).then(|| controller_reference(set));
    let keep = |owner: &OwnerReference| {
        let ours = owner.uid == uid(&set.metadata) || owner.kind == "Pod";
        !ours || [&by_pod, &by_set].into_iter().flatten().any(|wanted| wanted.uid == owner.uid)
    };
    owners.retain(keep);
    for wanted in [by_pod, by_set].into_iter().flatten() {
        if owners.iter().all(|owner| owner.uid != wanted.uid) {
            owners.push(wanted);
        }
    }
    owners
}
