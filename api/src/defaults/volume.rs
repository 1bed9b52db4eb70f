//! Volumes: file modes, token life, and the defaults of disk kinds.

use serde_json::Value;

use super::container::pull_policy;
use super::fill::{Members, fill, fill_number, fill_pointer, inside, items, text};

/// File mode 0644.
const MODE: i64 = 0o644;

/// Fills one volume; one without a source is an `emptyDir`.
pub(super) fn set(volume: &mut Members) {
    if volume.iter().all(|(name, value)| name == "name" || value.is_null()) {
        volume.insert("emptyDir".to_owned(), Value::Object(Members::new()));
    }
    set_files(volume);
    set_disks(volume);
    if let Some(image) = inside(volume, "image") {
        let policy = pull_policy(text(image, "reference"));
        fill(image, "pullPolicy", policy);
    }
    let claim =
        inside(volume, "ephemeral").and_then(|source| inside(source, "volumeClaimTemplate"));
    if let Some(spec) = claim.and_then(|template| inside(template, "spec")) {
        fill_pointer(spec, "volumeMode", "Filesystem");
    }
}

fn set_files(volume: &mut Members) {
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = inside(volume, name) {
            fill_pointer(source, "defaultMode", MODE);
        }
    }
    if let Some(source) = inside(volume, "downwardAPI") {
        set_downward(source);
    }
    if let Some(projected) = inside(volume, "projected") {
        for source in items(projected, "sources") {
            if let Some(token) = inside(source, "serviceAccountToken") {
                fill_number(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = inside(source, "downwardAPI") {
                set_downward(downward);
            }
        }
    }
    if let Some(path) = inside(volume, "hostPath") {
        fill_pointer(path, "type", "");
    }
}

fn set_downward(source: &mut Members) {
    for item in items(source, "items") {
        if let Some(field) = inside(item, "fieldRef") {
            fill(field, "apiVersion", "v1");
        }
        if let Some(resource) = inside(item, "resourceFieldRef") {
            fill_pointer(resource, "divisor", "0");
        }
    }
}

fn set_disks(volume: &mut Members) {
    if let Some(disk) = inside(volume, "iscsi") {
        fill(disk, "iscsiInterface", "default");
    }
    if let Some(disk) = inside(volume, "rbd") {
        fill(disk, "pool", "rbd");
        fill(disk, "user", "admin");
        fill(disk, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = inside(volume, "azureDisk") {
        fill_pointer(disk, "cachingMode", "ReadWrite");
        fill_pointer(disk, "kind", "Shared");
        fill_pointer(disk, "fsType", "ext4");
        fill_pointer(disk, "readOnly", false);
    }
    if let Some(disk) = inside(volume, "scaleIO") {
        fill(disk, "storageMode", "ThinProvisioned");
        fill(disk, "fsType", "xfs");
    }
}
