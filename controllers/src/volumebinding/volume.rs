//! A volume: free, bound, released; deleted when its claim is gone and its policy says so.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};

use super::matching::refers;
use super::{Action, FOLDER, NODE_ATTRIBUTE, is_ours, protection};
use crate::objects::{is_deleting, name};
use crate::write::or_null;

/// What a reconcile may look at. Everything comes from caches that are whole.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The volume.
    pub volume: Arc<PersistentVolume>,
    /// The claim that its `claimRef` names, whatever its uid.
    pub claim: Option<Arc<PersistentVolumeClaim>>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
}

/// Gives all that is to be done for a volume now.
pub fn reconcile(observed: &Observed) -> Vec<Action> {
    let volume = &observed.volume;
    let title = name(&volume.metadata).to_owned();
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let claim = observed
        .claim
        .as_ref()
        .filter(|claim| reference.is_some_and(|reference| refers(reference, claim)));
    let bound = claim.filter(|claim| {
        claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) == Some(&title)
    });
    if let Some(patch) = protection::patch(&volume.metadata, protection::VOLUME, bound.is_some()) {
        return vec![Action::PatchVolume(title, patch)];
    }
    if is_deleting(&volume.metadata) {
        return abandoned(observed).into_iter().collect();
    }
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let set = |wanted: &'static str, message: Option<String>| {
        (phase != Some(wanted)).then(|| Action::SetVolumePhase(title.clone(), wanted, message))
    };
    match (reference, claim) {
        (None, _) => set("Available", None).into_iter().collect(),
        // It waits for a claim of that name.
        (Some(reference), None) if reference.uid.as_deref().is_none_or(str::is_empty) => {
            set("Available", None).into_iter().collect()
        }
        (Some(_), Some(_)) => Vec::new(),
        (Some(_), None) => released(observed, phase),
    }
}

fn released(observed: &Observed, phase: Option<&str>) -> Vec<Action> {
    let volume = &observed.volume;
    let title = name(&volume.metadata).to_owned();
    let policy = volume.spec.as_ref().and_then(|s| s.persistent_volume_reclaim_policy.as_deref());
    let mut actions = Vec::new();
    if !matches!(phase, Some("Released" | "Failed")) {
        actions.push(Action::SetVolumePhase(title.clone(), "Released", None));
    }
    match policy {
        Some("Delete") if is_ours(volume) => actions.push(Action::DeleteVolume),
        Some("Delete") if phase != Some("Failed") => {
            let text = format!(
                "error getting deleter volume plugin for volume \"{title}\": no deletable volume \
                 plugin matched"
            );
            actions.push(Action::SetVolumePhase(title, "Failed", Some(text.clone())));
            actions.push(Action::Note(true, "VolumeFailedDelete", text));
        }
        Some(_) | None => {}
    }
    actions
}

/// A volume that goes while its node is gone for good: nobody is left who could remove its folder.
fn abandoned(observed: &Observed) -> Option<Action> {
    let volume = &observed.volume;
    let mut list = volume.metadata.finalizers.clone().unwrap_or_default();
    let csi = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref());
    let node = csi.and_then(|csi| csi.volume_attributes.as_ref()?.get(NODE_ATTRIBUTE))?;
    let there = observed.nodes.iter().any(|known| name(&known.metadata) == node);
    if there || !list.iter().any(|known| known == FOLDER) {
        return None;
    }
    list.retain(|known| known != FOLDER);
    let revision = &volume.metadata.resource_version;
    let patch = serde_json::json!({"metadata": {"finalizers": or_null(&list), "resourceVersion": revision}});
    Some(Action::PatchVolume(name(&volume.metadata).to_owned(), patch))
}
