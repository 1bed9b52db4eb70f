//! Rules for VolumeAttachments. *Source:* `ValidateVolumeAttachment` in `pkg/apis/storage/validation`.

use serde_json::Value;

use super::csinode::check_driver_name;
use super::storage::sources;
use super::{Errors, complain, has, immutable, items, metadata, number, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");
const STATUS: Path<'static> = Path::root("status");

/// Most bytes of what a driver says of an attached volume, keys and values.
const METADATA_BYTES_MAX: usize = 256 << 10;

/// Most bytes of the message of an error.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Checks a new VolumeAttachment.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check(&mut errors, object);
    let spec = &object["spec"];
    check_driver_name(&mut errors, &SPEC.child("attacher"), text(spec, "attacher"));
    let volume = text(&spec["source"], "persistentVolumeName");
    if has(&spec["source"], "persistentVolumeName") {
        let source = SPEC.child("source");
        let path = source.child("persistentVolumeName");
        complain(&mut errors, path, volume, names::dns1123_subdomain(volume));
    }
    errors
}

/// Checks a changed VolumeAttachment: its spec stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check(&mut errors, new);
    immutable(&mut errors, SPEC, &new["spec"], &old["spec"]);
    errors
}

fn check(errors: &mut Errors, object: &Value) {
    let spec = &object["spec"];
    if text(spec, "attacher").is_empty() {
        errors.push(FieldError::required(SPEC.child("attacher"), ""));
    }
    check_source(errors, &spec["source"]);
    let node = text(spec, "nodeName");
    complain(errors, SPEC.child("nodeName"), node, names::dns1123_subdomain(node));
    check_status(errors, &object["status"]);
}

fn check_source(errors: &mut Errors, source: &Value) {
    let path = SPEC.child("source");
    let words = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (has(source, "inlineVolumeSpec"), has(source, "persistentVolumeName")) {
        (false, false) => errors.push(FieldError::required(path, words)),
        (true, true) => errors.push(FieldError::forbidden(path, words)),
        (false, true) => {
            if text(source, "persistentVolumeName").is_empty() {
                let words = "must specify non empty persistentVolumeName";
                errors.push(FieldError::required(path.child("persistentVolumeName"), words));
            }
        }
        (true, false) => {
            check_inline(errors, &path.child("inlineVolumeSpec"), &source["inlineVolumeSpec"]);
        }
    }
}

/// Checks a volume that is no object of its own.
fn check_inline(errors: &mut Errors, path: &Path<'_>, volume: &Value) {
    let words = "may not be specified in the context of inline volumes";
    let is_there = |field: &str| match &volume[field] {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => true,
    };
    for field in ["claimRef", "capacity", "nodeAffinity", "storageClassName"] {
        if is_there(field) {
            errors.push(FieldError::forbidden(path.child(field), words));
        }
    }
    for (field, only, words) in [
        (
            "persistentVolumeReclaimPolicy",
            "Retain",
            "may only be Retain in the context of inline volumes",
        ),
        (
            "volumeMode",
            "Filesystem",
            "may not specify volumeMode other than Filesystem in the context of inline volumes",
        ),
    ] {
        if is_there(field) && volume[field] != only {
            errors.push(FieldError::forbidden(path.child(field), words));
        }
    }
    if items(volume, "accessModes").is_empty() {
        errors.push(FieldError::required(path.child("accessModes"), ""));
    }
    match sources(volume).count() {
        0 => errors.push(FieldError::required(path, "must specify a volume type")),
        1 => {}
        _ => {
            for (name, _) in sources(volume).skip(1) {
                let words = "may not specify more than 1 volume type";
                errors.push(FieldError::forbidden(path.child(name), words));
            }
        }
    }
}

fn check_status(errors: &mut Errors, status: &Value) {
    let told = status["attachmentMetadata"].as_object().into_iter().flatten();
    let bytes: usize =
        told.map(|(key, value)| key.len() + value.as_str().unwrap_or_default().len()).sum();
    if bytes > METADATA_BYTES_MAX {
        errors.push(FieldError::too_long(STATUS.child("attachmentMetadata"), METADATA_BYTES_MAX));
    }
    for field in ["attachError", "detachError"] {
        let path = STATUS.child(field);
        let error = &status[field];
        if text(error, "message").len() > MESSAGE_BYTES_MAX {
            // Upstream names the other limit.
            errors.push(FieldError::too_long(path.child("message"), METADATA_BYTES_MAX));
        }
        if let Some(code) = number(error, "errorCode").filter(|code| *code < 0) {
            let words = names::in_range(0, i64::from(i32::MAX));
            errors.push(FieldError::invalid(path.child("errorCode"), code, words));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check as compare;
    use super::*;
    use serde_json::json;

    fn attachment(source: Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"attacher": "a.example.com", "nodeName": "n", "source": source}})
    }

    #[test]
    fn what_is_attached_where_by_whom() {
        compare(validate(&attachment(json!({"persistentVolumeName": "v"}))), &[]);
        let mut nobody = attachment(json!({"persistentVolumeName": "v"}));
        nobody["spec"]["attacher"] = json!("");
        // Upstream says it twice as well.
        compare(
            validate(&nobody),
            &["spec.attacher: Required value", "spec.attacher: Required value"],
        );
        let words = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        compare(
            validate(&attachment(json!({}))),
            &[&format!("spec.source: Required value: {words}")],
        );
        let both = json!({"persistentVolumeName": "v", "inlineVolumeSpec": {}});
        compare(validate(&attachment(both)), &[&format!("spec.source: Forbidden: {words}")]);
        let inline = json!({"inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"], "csi": {"driver": "d", "volumeHandle": "h"},
            "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Delete"}});
        compare(
            validate(&attachment(inline)),
            &[
                "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
                "spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes",
            ],
        );
    }

    #[test]
    fn only_the_status_changes() {
        let old = attachment(json!({"persistentVolumeName": "v"}));
        let mut new = old.clone();
        new["status"] = json!({"attachError": {"message": "x".repeat(1025), "errorCode": -1}});
        compare(
            validate_update(&new, &old),
            &[
                "status.attachError.message: Too long: may not be more than 262144 bytes",
                "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ],
        );
        let mut moved = old.clone();
        moved["spec"]["nodeName"] = json!("m");
        let found = validate_update(&moved, &old);
        assert!(found.len() == 1 && found[0].message.ends_with("field is immutable"), "{found:?}");
    }
}
