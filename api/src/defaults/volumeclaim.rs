//! PersistentVolumes and their claims: file systems that are kept.

use serde_json::Value;

use super::fill::{Members, ensure, fill, fill_pointer, inside};

/// Fills a PersistentVolumeClaim.
pub fn set(claim: &mut Value) {
    if let Some(claim) = claim.as_object_mut() {
        set_members(claim);
    }
}

/// Fills a claim or a template of one.
pub(super) fn set_members(claim: &mut Members) {
    if let Some(status) = ensure(claim, "status") {
        fill(status, "phase", "Pending");
    }
    if let Some(spec) = inside(claim, "spec") {
        fill_pointer(spec, "volumeMode", "Filesystem");
    }
}

/// Fills a PersistentVolume.
pub fn set_volume(volume: &mut Value) {
    let Some(volume) = volume.as_object_mut() else { return };
    if let Some(status) = ensure(volume, "status") {
        fill(status, "phase", "Pending");
    }
    let Some(spec) = inside(volume, "spec") else { return };
    fill(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill_pointer(spec, "volumeMode", "Filesystem");
    if let Some(path) = inside(spec, "hostPath") {
        fill_pointer(path, "type", "");
    }
}
