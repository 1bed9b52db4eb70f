//! Claims and volumes, as far as they say where a pod may run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

/// Names the node that a claim's first consumer was given. *Source:* the well-known annotation.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// All claims, volumes and classes.
#[derive(Debug, Clone, Default)]
pub struct Volumes {
    claims: BTreeMap<(String, String), Arc<PersistentVolumeClaim>>,
    volumes: HashMap<String, Arc<PersistentVolume>>,
    /// Whether a class binds its claims only when a pod uses them.
    classes: HashMap<String, bool>,
}

/// What a claim means for a pod that wants a node.
#[derive(Debug, Clone)]
pub(crate) enum Standing<'a> {
    /// There is none of that name.
    Missing,
    /// It is on its way out.
    Deleting,
    /// It has to be bound before a pod can be placed.
    Unbound,
    /// It is bound where the pod goes; it may have been promised to a node already.
    Late(Option<&'a str>),
    /// It is bound to a volume, which may be unknown.
    Bound(Option<&'a PersistentVolume>),
}

impl Volumes {
    /// Takes a claim as it is now, or that it is gone.
    pub fn claim(&mut self, key: (String, String), claim: Option<Arc<PersistentVolumeClaim>>) {
        match claim {
            Some(claim) => self.claims.insert(key, claim),
            None => self.claims.remove(&key),
        };
    }

    /// Takes a volume as it is now, or that it is gone.
    pub fn volume(&mut self, name: String, volume: Option<Arc<PersistentVolume>>) {
        match volume {
            Some(volume) => self.volumes.insert(name, volume),
            None => self.volumes.remove(&name),
        };
    }

    /// Takes a class as it is now, or that it is gone.
    pub fn class(&mut self, name: String, class: Option<&StorageClass>) {
        let late = |class: &StorageClass| {
            class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
        };
        match class {
            Some(class) => self.classes.insert(name, late(class)),
            None => self.classes.remove(&name),
        };
    }

    /// Says how a claim stands.
    pub(crate) fn standing(&self, namespace: &str, name: &str) -> Standing<'_> {
        let Some(claim) = self.claims.get(&(namespace.to_owned(), name.to_owned())) else {
            return Standing::Missing;
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return Standing::Deleting;
        }
        let spec = claim.spec.as_ref();
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        let volume = spec.and_then(|spec| spec.volume_name.as_ref());
        if let (Some("Bound"), Some(volume)) = (phase, volume) {
            return Standing::Bound(self.volumes.get(volume).map(AsRef::as_ref));
        }
        let class = spec.and_then(|spec| spec.storage_class_name.as_ref());
        if class.and_then(|class| self.classes.get(class)) != Some(&true) {
            return Standing::Unbound;
        }
        let notes = claim.metadata.annotations.as_ref();
        Standing::Late(notes.and_then(|notes| notes.get(SELECTED_NODE)).map(String::as_str))
    }

    /// Tells whether only one pod at a time may use a claim.
    pub(crate) fn is_exclusive(&self, namespace: &str, name: &str) -> bool {
        let claim = self.claims.get(&(namespace.to_owned(), name.to_owned()));
        let modes = claim.and_then(|claim| claim.spec.as_ref()?.access_modes.as_ref());
        modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod"))
    }
}

/// Lists the claims that a pod uses; those of its own templates are named after both.
pub(crate) fn claims_of(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| {
        let named = volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
        let pod = pod.metadata.name.as_deref().unwrap_or_default();
        named.or_else(|| volume.ephemeral.as_ref().map(|_| format!("{pod}-{}", volume.name)))
    })
}
