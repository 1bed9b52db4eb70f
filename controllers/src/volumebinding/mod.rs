//! PersistentVolumes and claims: bound, provisioned, released, deleted, and not deleted while in use.
//!
//! In: a claim or a volume with what it could be bound to. Out: writes, and what the claim's owner is
//! to be told. Volumes of the class [`CLASS`] are folders of one host: made here as objects, with the
//! node on which the first pod that uses them was placed; the node's agent makes the folder when it
//! is mounted and removes it before the object goes, for which the object carries [`FOLDER`].
//!
//! *Source:* Kubernetes docs, "Persistent Volumes", "Storage Classes"; the sentences are
//! kube-controller-manager's.

pub mod claim;
pub mod volume;

pub(crate) mod run;

mod ephemeral;
mod matching;
mod protection;
mod provision;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus,
};
use serde_json::Value;

pub use claim::reconcile as reconcile_claim;
pub use provision::default_class;
pub use volume::reconcile as reconcile_volume;

/// Provisioner of the built-in class, and driver of its volumes.
pub const DRIVER: &str = "local.coracle.dev";
/// The built-in class.
pub const CLASS: &str = "coracle-local";
/// Finalizer of a volume that is a folder of a host: taken off once the folder is gone.
pub const FOLDER: &str = "local.coracle.dev/folder";
/// Attribute of such a volume that names its node.
pub const NODE_ATTRIBUTE: &str = "local.coracle.dev/node";

const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Change the claim by a merge patch.
    PatchClaim(Value),
    /// Set the claim's status.
    SetClaimStatus(Box<PersistentVolumeClaimStatus>),
    /// Create a volume.
    CreateVolume(Box<PersistentVolume>),
    /// Change the volume of this name by a merge patch.
    PatchVolume(String, Value),
    /// Set phase and message of the volume of this name.
    SetVolumePhase(String, &'static str, Option<String>),
    /// Delete the volume, unless its claim turns out to be there.
    DeleteVolume,
    /// Tell the owner: a warning or not, reason and sentence.
    Note(bool, &'static str, String),
}

/// The class that a claim asks for; `None` when it leaves that open.
fn class_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.storage_class_name.as_deref()
}

/// Gives bytes of a quantity; 0 when there is none.
fn bytes(
    map: Option<
        &std::collections::BTreeMap<
            String,
            k8s_openapi::apimachinery::pkg::api::resource::Quantity,
        >,
    >,
) -> i64 {
    let quantity = map.and_then(|map| map.get("storage"));
    quantity
        .and_then(|quantity| quantity.0.parse::<coracle_api::quantity::Quantity>().ok())
        .map_or(0, |quantity| quantity.value())
}

/// Tells whether a volume is a folder of a host that this cluster made.
fn is_ours(volume: &PersistentVolume) -> bool {
    let csi = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref());
    csi.is_some_and(|csi| csi.driver == DRIVER)
}

#[cfg(test)]
mod tests;
