//! Which volume serves a claim.
//!
//! *Source:* kube-controller-manager's `FindMatchingVolume`: the smallest of those that fit.

use std::sync::Arc;

use coracle_api::selector::LabelSelector;
use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, ObjectReference, PersistentVolume, PersistentVolumeClaim,
};

use super::{bytes, class_of};
use crate::objects::{is_deleting, name, namespace, uid};

/// Tells whether a volume's `claimRef` means this claim. One without uid waits for it.
pub(super) fn refers(reference: &ObjectReference, claim: &PersistentVolumeClaim) -> bool {
    let meta = &claim.metadata;
    let same_uid =
        reference.uid.as_deref().is_none_or(|known| known.is_empty() || known == uid(meta));
    reference.name.as_deref() == Some(name(meta))
        && reference.namespace.as_deref() == Some(namespace(meta))
        && same_uid
}

/// Gives the volume that has been kept for the claim.
pub(super) fn kept_for<'a>(
    volumes: &'a [Arc<PersistentVolume>],
    claim: &PersistentVolumeClaim,
) -> Option<&'a PersistentVolume> {
    let mine = |volume: &&Arc<PersistentVolume>| {
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        reference.is_some_and(|reference| refers(reference, claim))
            && !is_deleting(&volume.metadata)
    };
    volumes.iter().find(mine).map(AsRef::as_ref)
}

/// Gives the smallest free volume that fits the claim, and the node if one is asked for.
pub(super) fn best<'a>(
    volumes: &'a [Arc<PersistentVolume>],
    claim: &PersistentVolumeClaim,
    node: Option<&Node>,
) -> Option<&'a PersistentVolume> {
    let free = |volume: &&Arc<PersistentVolume>| {
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        reference.is_none() && !is_deleting(&volume.metadata)
    };
    let fitting = volumes.iter().filter(free).filter(|volume| fits(volume, claim, node));
    fitting
        .min_by_key(|volume| (capacity(volume), name(&volume.metadata).to_owned()))
        .map(AsRef::as_ref)
}

fn capacity(volume: &PersistentVolume) -> i64 {
    bytes(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()))
}

fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim, node: Option<&Node>) -> bool {
    let (Some(spec), Some(wanted)) = (&volume.spec, &claim.spec) else { return false };
    let requests = wanted.resources.as_ref().and_then(|needs| needs.requests.as_ref());
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    let asked = wanted.access_modes.as_deref().unwrap_or_default();
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".into());
    let class = spec.storage_class_name.as_deref().unwrap_or_default();
    class == class_of(claim).unwrap_or_default()
        && capacity(volume) >= bytes(requests)
        && asked.iter().all(|mode| modes.contains(mode))
        && mode(&spec.volume_mode) == mode(&wanted.volume_mode)
        && selected(volume, claim)
        && node.is_none_or(|node| reachable(volume, node))
}

fn selected(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let Some(selector) = selector else { return true };
    let read = serde_json::to_value(selector).ok();
    let read = read.and_then(|value| LabelSelector::from_value(&value).ok());
    let labels = volume.metadata.labels.clone().unwrap_or_default();
    read.is_some_and(|selector| selector.matches(&labels))
}

/// Tells whether a node may use the volume.
pub(super) fn reachable(volume: &PersistentVolume, node: &Node) -> bool {
    let spec = volume.spec.as_ref();
    let required = spec.and_then(|s| s.node_affinity.as_ref()?.required.as_ref());
    let Some(required) = required else { return true };
    required.node_selector_terms.iter().any(|term| {
        let rules = term.match_expressions.iter().flatten();
        rules.into_iter().all(|rule| holds(rule, node))
    })
}

fn holds(rule: &NodeSelectorRequirement, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let value = labels.and_then(|labels| labels.get(&rule.key));
    let values = rule.values.as_deref().unwrap_or_default();
    match rule.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
