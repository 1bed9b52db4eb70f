//! A claim: finds or makes its volume, binds the two, follows its size.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod,
};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::json;

use super::matching::{best, kept_for, refers};
use super::{
    Action, BIND_COMPLETED, BOUND_BY_CONTROLLER, DRIVER, PROVISIONER, SELECTED_NODE, bytes,
    class_of, is_ours, protection, provision,
};
use crate::objects::{annotation, is_deleting, is_terminal, name, namespace, uid};

/// What a reconcile may look at. Everything comes from caches that are whole.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The claim.
    pub claim: Arc<PersistentVolumeClaim>,
    /// All volumes.
    pub volumes: Vec<Arc<PersistentVolume>>,
    /// All classes.
    pub classes: Vec<Arc<StorageClass>>,
    /// The pods of the claim's namespace that use it.
    pub pods: Vec<Arc<Pod>>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
}

impl Observed {
    fn class(&self, wanted: &str) -> Option<&StorageClass> {
        self.classes.iter().find(|class| name(&class.metadata) == wanted).map(AsRef::as_ref)
    }

    fn default_class(&self) -> Option<&StorageClass> {
        // The newest wins when there are several.
        let defaults = self.classes.iter().filter(|class| provision::is_default(class));
        let age = |class: &&Arc<StorageClass>| {
            class.metadata.creation_timestamp.as_ref().map(|time| time.0)
        };
        defaults.max_by_key(age).map(AsRef::as_ref)
    }

    /// The node of the first pod that uses the claim and has one.
    fn consumer_node(&self) -> Option<&Node> {
        let placed = self.pods.iter().filter(|pod| !is_terminal(pod));
        let names = placed.filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref());
        names.filter_map(|wanted| self.node(wanted)).next()
    }

    fn node(&self, wanted: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| name(&node.metadata) == wanted).map(AsRef::as_ref)
    }
}

/// Gives all that is to be done for a claim now.
pub fn reconcile(observed: &Observed) -> Vec<Action> {
    let claim = &observed.claim;
    let in_use = observed.pods.iter().any(|pod| !is_terminal(pod));
    if let Some(patch) = protection::patch(&claim.metadata, protection::CLAIM, in_use) {
        return vec![Action::PatchClaim(patch)];
    }
    if is_deleting(&claim.metadata) {
        return Vec::new();
    }
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    match wanted.filter(|wanted| !wanted.is_empty()) {
        Some(wanted) => named(observed, wanted),
        None => unnamed(observed),
    }
}

/// The claim names its volume.
fn named(observed: &Observed, wanted: &str) -> Vec<Action> {
    let claim = &observed.claim;
    let found = observed.volumes.iter().find(|volume| name(&volume.metadata) == wanted);
    let completed = annotation(&claim.metadata, BIND_COMPLETED).is_some();
    let Some(volume) = found else {
        let lost = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        let missing = format!("volume \"{wanted}\" not found");
        return if completed {
            lose(claim, lost)
        } else {
            wait(claim, true, "FailedBinding", missing)
        };
    };
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if reference.is_none_or(|reference| refers(reference, claim)) {
        return bind(observed, volume);
    }
    if completed {
        return lose(
            claim,
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
        );
    }
    let other = format!("volume \"{wanted}\" already bound to a different claim.");
    wait(claim, true, "FailedBinding", other)
}

/// The claim leaves its volume open.
fn unnamed(observed: &Observed) -> Vec<Action> {
    let claim = &observed.claim;
    if let Some(volume) = kept_for(&observed.volumes, claim) {
        return bind(observed, volume);
    }
    if class_of(claim).is_none()
        && let Some(class) = observed.default_class()
    {
        let class = name(&class.metadata);
        return vec![Action::PatchClaim(json!({"spec": {"storageClassName": class}}))];
    }
    let class = class_of(claim).filter(|class| !class.is_empty());
    let known = class.and_then(|class| observed.class(class));
    let late = known
        .is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    let node = observed.consumer_node();
    if late && node.is_none() {
        let text = "waiting for first consumer to be created before binding".to_owned();
        return wait(claim, false, "WaitForFirstConsumer", text);
    }
    if let Some(volume) = best(&observed.volumes, claim, node.filter(|_| late)) {
        return bind(observed, volume);
    }
    match (class, known) {
        (None, _) => {
            let text = "no persistent volumes available for this claim and no storage class is set";
            wait(claim, false, "FailedBinding", text.to_owned())
        }
        (Some(class), None) => {
            let text = format!("storageclass.storage.k8s.io \"{class}\" not found");
            wait(claim, true, "ProvisioningFailed", text)
        }
        (Some(_), Some(class)) => provide(observed, class, node),
    }
}

fn provide(observed: &Observed, class: &StorageClass, node: Option<&Node>) -> Vec<Action> {
    let claim = &observed.claim;
    if class.provisioner != DRIVER {
        let text = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually \
             by the system administrator. If volume creation is delayed, please verify that the \
             provisioner is running and correctly registered.",
            class.provisioner
        );
        return wait(claim, false, "ExternalProvisioning", text);
    }
    // Bound at once, the claim does not say where: the first node that is there.
    let any = || observed.nodes.iter().min_by_key(|node| name(&node.metadata).to_owned());
    let Some(node) = node.or_else(|| any().map(AsRef::as_ref)) else {
        let text = "no node is there to make the volume on".to_owned();
        return wait(claim, true, "ProvisioningFailed", text);
    };
    let title = name(&class.metadata);
    match provision::volume(claim, class, node) {
        Err(error) => {
            let text = format!("failed to provision volume with StorageClass \"{title}\": {error}");
            wait(claim, true, "ProvisioningFailed", text)
        }
        Ok(volume) => {
            let made = format!("Successfully provisioned volume {}", name(&volume.metadata));
            let notes = json!({PROVISIONER: DRIVER, SELECTED_NODE: name(&node.metadata)});
            vec![
                Action::PatchClaim(json!({"metadata": {"annotations": notes}})),
                Action::CreateVolume(Box::new(volume)),
                Action::Note(false, "ProvisioningSucceeded", made),
            ]
        }
    }
}

/// Makes claim and volume mean each other, the volume first: it can be given to one claim only.
fn bind(observed: &Observed, volume: &PersistentVolume) -> Vec<Action> {
    let claim = &observed.claim;
    let meta = &claim.metadata;
    let title = name(&volume.metadata).to_owned();
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if reference.and_then(|reference| reference.uid.as_deref()) != Some(uid(meta)) {
        let reference_to = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name(meta),
            "namespace": namespace(meta), "uid": uid(meta), "resourceVersion": meta.resource_version,
        });
        let mut patch = json!({
            "metadata": {"resourceVersion": volume.metadata.resource_version},
            "spec": {"claimRef": reference_to},
        });
        if reference.is_none() {
            patch["metadata"]["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
        }
        // What follows is decided anew once the volume is ours.
        return vec![Action::PatchVolume(title, patch)];
    }
    let mut actions = Vec::new();
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase != Some("Bound") {
        actions.push(Action::SetVolumePhase(title.clone(), "Bound", None));
    }
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    if named != Some(&title) || annotation(meta, BIND_COMPLETED).is_none() {
        let mut notes = json!({BIND_COMPLETED: "yes"});
        if named.is_none_or(str::is_empty) {
            notes[BOUND_BY_CONTROLLER] = "yes".into();
        }
        let patch = json!({"metadata": {"annotations": notes}, "spec": {"volumeName": title}});
        actions.push(Action::PatchClaim(patch));
    }
    let spec = volume.spec.clone().unwrap_or_default();
    let old = claim.status.clone().unwrap_or_default();
    let status = PersistentVolumeClaimStatus {
        phase: Some("Bound".into()),
        access_modes: spec.access_modes,
        capacity: spec.capacity,
        ..old.clone()
    };
    if status != old {
        actions.push(Action::SetClaimStatus(Box::new(status)));
    }
    actions.extend(grow(observed, volume));
    actions
}

/// The claim asks for more than its volume has.
fn grow(observed: &Observed, volume: &PersistentVolume) -> Vec<Action> {
    let claim = &observed.claim;
    let needs = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = needs.and_then(|needs| needs.requests.as_ref());
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    let (asked, there) = (bytes(requests), bytes(capacity));
    if asked <= there || annotation(&claim.metadata, BIND_COMPLETED).is_none() {
        return Vec::new();
    }
    let class = class_of(claim).and_then(|class| observed.class(class));
    if !is_ours(volume) || class.and_then(|class| class.allow_volume_expansion) != Some(true) {
        let text = "only dynamically provisioned pvc can be resized and the storageclass that \
                    provisions the pvc must support resize";
        return vec![Action::Note(true, "VolumeResizeFailed", text.to_owned())];
    }
    let wanted = requests.and_then(|map| map.get("storage"));
    let title = name(&volume.metadata).to_owned();
    let text = format!("volume {title} has the size that the claim asks for");
    let patch = json!({"spec": {"capacity": {"storage": wanted}}});
    vec![Action::PatchVolume(title, patch), Action::Note(false, "VolumeResizeSuccessful", text)]
}

fn wait(
    claim: &PersistentVolumeClaim,
    warning: bool,
    reason: &'static str,
    message: String,
) -> Vec<Action> {
    let mut actions = vec![Action::Note(warning, reason, message)];
    let old = claim.status.clone().unwrap_or_default();
    if old.phase.as_deref() != Some("Pending") {
        let status = PersistentVolumeClaimStatus { phase: Some("Pending".into()), ..old };
        actions.push(Action::SetClaimStatus(Box::new(status)));
    }
    actions
}

fn lose(claim: &PersistentVolumeClaim, message: &str) -> Vec<Action> {
    let old = claim.status.clone().unwrap_or_default();
    if old.phase.as_deref() == Some("Lost") {
        return Vec::new();
    }
    let phase = Some("Lost".into());
    let status = PersistentVolumeClaimStatus { phase, capacity: None, access_modes: None, ..old };
    vec![
        Action::SetClaimStatus(Box::new(status)),
        Action::Note(true, "ClaimLost", message.to_owned()),
    ]
}
