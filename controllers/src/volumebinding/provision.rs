//! Volumes made for claims: a folder of one host each.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::json;

use super::{CLASS, DEFAULT_CLASS, DRIVER, FOLDER, NODE_ATTRIBUTE, PROVISIONED_BY, protection};
use crate::objects::{annotation, name, namespace, uid};

/// Why no volume can be made for a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unprovisionable {
    /// A folder is no block device.
    #[error(
        "volumeMode Block is not served by {DRIVER}, whose volumes are folders; use volumeMode \
         Filesystem"
    )]
    Block,
    /// The object could not be made.
    #[error("make the volume: {0}")]
    Object(String),
}

/// Gives the name of the volume that is made for a claim.
pub(super) fn volume_name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", uid(&claim.metadata))
}

/// Makes the volume for a claim on a node.
///
/// # Errors
/// When the claim asks for what a folder cannot be.
pub(super) fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &Node,
) -> Result<PersistentVolume, Unprovisionable> {
    let spec = claim.spec.clone().unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(Unprovisionable::Block);
    }
    let requests = spec.resources.and_then(|needs| needs.requests).unwrap_or_default();
    let node_name = name(&node.metadata);
    let labels = node.metadata.labels.as_ref();
    let host = labels.and_then(|labels| labels.get("kubernetes.io/hostname"));
    let meta = &claim.metadata;
    let object = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {PROVISIONED_BY: DRIVER},
            "finalizers": [protection::VOLUME, FOLDER],
        },
        "spec": {
            "capacity": {"storage": requests.get("storage").cloned().unwrap_or_default()},
            "accessModes": spec.access_modes,
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": name(&class.metadata),
            "volumeMode": "Filesystem",
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name(meta),
                "namespace": namespace(meta), "uid": uid(meta),
                "resourceVersion": meta.resource_version,
            },
            "csi": {
                "driver": DRIVER, "volumeHandle": volume_name(claim),
                "volumeAttributes": {NODE_ATTRIBUTE: node_name},
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{
                "key": "kubernetes.io/hostname", "operator": "In",
                "values": [host.map_or(node_name, String::as_str)],
            }]}]}},
        },
    });
    serde_json::from_value(object).map_err(|error| Unprovisionable::Object(error.to_string()))
}

/// Makes the built-in class; the default one unless there is another.
#[must_use]
pub fn default_class(is_default: bool) -> StorageClass {
    let is_default = if is_default { "true" } else { "false" };
    StorageClass {
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            name: Some(CLASS.to_owned()),
            annotations: Some(BTreeMap::from([(DEFAULT_CLASS.to_owned(), is_default.to_owned())])),
            ..Default::default()
        },
        provisioner: DRIVER.to_owned(),
        allow_volume_expansion: Some(true),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        ..StorageClass::default()
    }
}

/// Tells whether a class is the default one.
pub(super) fn is_default(class: &StorageClass) -> bool {
    annotation(&class.metadata, DEFAULT_CLASS) == Some("true")
}
