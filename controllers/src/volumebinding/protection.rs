//! Finalizers that keep a claim while a pod uses it, and a volume while it is bound.
//!
//! *Source:* Kubernetes docs, "Storage Object in Use Protection".

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::objects::is_deleting;
use crate::write::or_null;

pub(super) const CLAIM: &str = "kubernetes.io/pvc-protection";
pub(super) const VOLUME: &str = "kubernetes.io/pv-protection";

/// Gives the patch that puts the finalizer on, or takes it off an object that goes unused.
pub(super) fn patch(meta: &ObjectMeta, finalizer: &str, in_use: bool) -> Option<Value> {
    let mut list = meta.finalizers.clone().unwrap_or_default();
    let there = list.iter().any(|known| known == finalizer);
    match (is_deleting(meta), there, in_use) {
        (false, false, _) => list.push(finalizer.to_owned()),
        (true, true, false) => list.retain(|known| known != finalizer),
        (false, true, _) | (true, false, _) | (true, true, true) => return None,
    }
    // The list is replaced as a whole, so nobody may have changed it in between.
    let revision = &meta.resource_version;
    Some(json!({"metadata": {"finalizers": or_null(&list), "resourceVersion": revision}}))
}
