//! Rules for volumes, claims and classes. *Source:* `pkg/apis/core/validation`, `pkg/apis/storage/validation`.

use serde_json::{Map, Value};

use super::resources::{any_name, check_list, quantity};
use super::{Errors, complain, has, immutable, items, labels, metadata, one_of, same, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");
const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Members of a PersistentVolume's spec that are not its source.
const NOT_A_SOURCE: &[&str] = &[
    "capacity",
    "accessModes",
    "claimRef",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "mountOptions",
    "volumeMode",
    "nodeAffinity",
    "volumeAttributesClassName",
];

/// Checks a new PersistentVolume.
pub fn validate_volume(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check_volume(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed PersistentVolume: its source stays.
pub fn validate_volume_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    check_volume(&mut errors, spec);
    let source = |spec: &Value| -> Value {
        sources(spec).map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    if !same(&source(spec), &source(before)) {
        let words = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden("spec.persistentvolumesource", words));
    }
    immutable(&mut errors, SPEC.child("volumeMode"), &spec["volumeMode"], &before["volumeMode"]);
    errors
}

/// Gives what a PersistentVolume is made of: one member, when it is well formed.
pub(super) fn sources(spec: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let members = spec.as_object().into_iter().flatten();
    members.filter(|(name, value)| !NOT_A_SOURCE.contains(&name.as_str()) && !value.is_null())
}

fn check_volume(errors: &mut Errors, spec: &Value) {
    check_modes(errors, spec, "");
    let path = SPEC.child("capacity");
    let capacity = &spec["capacity"];
    if capacity.as_object().is_none_or(Map::is_empty) {
        errors.push(FieldError::required(path, ""));
    } else if capacity.get("storage").is_none() || capacity.as_object().is_some_and(|c| c.len() > 1)
    {
        errors.push(FieldError::not_supported(path, capacity, &["storage"]));
    }
    check_list(errors, &path, capacity, any_name);
    check_positive(errors, &path, capacity);
    let reclaim = text(spec, "persistentVolumeReclaimPolicy");
    let policies = ["Delete", "Recycle", "Retain"];
    if !policies.contains(&reclaim) {
        let path = SPEC.child("persistentVolumeReclaimPolicy");
        errors.push(FieldError::not_supported(path, reclaim, &policies));
    }
    match sources(spec).count() {
        0 => errors.push(FieldError::required(SPEC, "must specify a volume type")),
        1 => {}
        _ => {
            for (name, _) in sources(spec).skip(1) {
                let words = "may not specify more than 1 volume type";
                errors.push(FieldError::forbidden(SPEC.child(name), words));
            }
        }
    }
    let path = &spec["hostPath"]["path"];
    if spec["hostPath"].is_object() && path.as_str().unwrap_or_default().is_empty() {
        errors.push(FieldError::required("spec.hostPath.path", ""));
    }
    if path.as_str().is_some_and(|path| path.split('/').any(|part| part == "..")) {
        errors.push(FieldError::invalid("spec.hostPath.path", path, "must not contain '..'"));
    }
    if spec["local"].is_object() && !has(spec, "nodeAffinity") {
        errors.push(FieldError::required(
            SPEC.child("nodeAffinity"),
            "Local volume requires node affinity",
        ));
    }
    check_class_name(errors, spec);
    check_volume_mode(errors, spec);
}

fn check_modes(errors: &mut Errors, spec: &Value, required: &str) {
    let path = SPEC.child("accessModes");
    let modes = items(spec, "accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required(path, required));
    }
    for mode in modes.iter().filter_map(Value::as_str).filter(|mode| !MODES.contains(mode)) {
        errors.push(FieldError::not_supported(path, mode, MODES));
    }
    let alone = modes.iter().any(|mode| mode == "ReadWriteOncePod");
    if alone && modes.len() > 1 {
        let words = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(path, words));
    }
}

fn check_positive(errors: &mut Errors, path: &Path<'_>, list: &Value) {
    let amount = list.get("storage").and_then(quantity);
    if amount.is_some_and(|amount| amount.milli_value() == 0) {
        let words = "must be greater than zero";
        errors.push(FieldError::invalid(path.key("storage"), &list["storage"], words));
    }
}

fn check_class_name(errors: &mut Errors, spec: &Value) {
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        complain(errors, SPEC.child("storageClassName"), class, names::dns1123_subdomain(class));
    }
}

fn check_volume_mode(errors: &mut Errors, spec: &Value) {
    if has(spec, "volumeMode") {
        let modes = ["Block", "Filesystem"];
        one_of(errors, SPEC.child("volumeMode"), text(spec, "volumeMode"), &modes);
    }
}

/// Checks a new PersistentVolumeClaim.
pub fn validate_claim(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_claim(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed PersistentVolumeClaim: all but what it asks for stays once it is bound.
pub fn validate_claim_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    check_claim(&mut errors, spec);
    let fixed = |spec: &Value| -> Value {
        let mut spec = spec.clone();
        if let Some(members) = spec.as_object_mut() {
            // The claim's volume is chosen once; what it asks for may grow.
            for field in ["resources", "volumeAttributesClassName"] {
                members.remove(field);
            }
            if text(before, "volumeName").is_empty() {
                members.remove("volumeName");
            }
            if !has(before, "storageClassName") {
                members.remove("storageClassName");
            }
        }
        spec
    };
    if !same(&fixed(spec), &fixed(before)) {
        let words = "spec is immutable after creation except resources.requests and \
                     volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden(SPEC, words));
    }
    let asked = |spec: &Value| quantity(&spec["resources"]["requests"]["storage"]);
    if let (Some(now), Some(then)) = (asked(spec), asked(before)) {
        let path = SPEC.child("resources");
        let path = path.child("requests");
        if now < then {
            let words = "field can not be less than status.capacity";
            errors.push(FieldError::forbidden(path.child("storage"), words));
        } else if now > then && text(&old["status"], "phase") != "Bound" {
            let words = "spec is immutable after creation except resources.requests and \
                         volumeAttributesClassName for bound claims";
            errors.push(FieldError::forbidden(SPEC, words));
        }
    }
    errors
}

fn check_claim(errors: &mut Errors, spec: &Value) {
    check_modes(errors, spec, "at least 1 access mode is required");
    labels::check_selector(errors, &SPEC.child("selector"), &spec["selector"]);
    let path = SPEC.child("resources");
    let requests = &spec["resources"]["requests"];
    let path = path.child("requests");
    if requests.get("storage").is_none() {
        errors.push(FieldError::required(format!("{path}[storage]"), ""));
    }
    check_list(errors, &path, requests, any_name);
    check_positive(errors, &path, requests);
    check_class_name(errors, spec);
    check_volume_mode(errors, spec);
}

/// Checks a new StorageClass.
pub fn validate_class(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check_class(&mut errors, object);
    errors
}

/// Checks a changed StorageClass: most of it stays.
pub fn validate_class_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    for (field, words) in [
        ("parameters", "updates to parameters are forbidden."),
        ("provisioner", "updates to provisioner are forbidden."),
        ("reclaimPolicy", "updates to reclaimPolicy are forbidden."),
    ] {
        if !same(&new[field], &old[field]) {
            errors.push(FieldError::forbidden(field, words));
        }
    }
    immutable(
        &mut errors,
        "volumeBindingMode",
        &new["volumeBindingMode"],
        &old["volumeBindingMode"],
    );
    check_class(&mut errors, new);
    errors
}

fn check_class(errors: &mut Errors, object: &Value) {
    let provisioner = text(object, "provisioner");
    if provisioner.is_empty() {
        errors.push(FieldError::required("provisioner", ""));
    } else {
        let lower = provisioner.to_lowercase();
        complain(errors, "provisioner", provisioner, names::qualified_name(&lower));
    }
    let policies = ["Delete", "Retain"];
    one_of(errors, "reclaimPolicy", text(object, "reclaimPolicy"), &policies);
    let modes = ["Immediate", "WaitForFirstConsumer"];
    one_of(errors, "volumeBindingMode", text(object, "volumeBindingMode"), &modes);
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn volumes() {
        let volume = |source: Value| {
            let mut object = json!({"metadata": {"name": "a"}, "spec": {"capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain"}});
            for (field, value) in source.as_object().unwrap() {
                object["spec"][field] = value.clone();
            }
            object
        };
        let good = volume(json!({"hostPath": {"path": "/a"}}));
        check(validate_volume(&good), &[]);
        check(
            validate_volume(&volume(json!({}))),
            &["spec: Required value: must specify a volume type"],
        );
        check(
            validate_volume(&volume(
                json!({"hostPath": {"path": "/a"}, "nfs": {}, "accessModes": ["x"], "capacity": {}}),
            )),
            &[
                "spec.accessModes: Unsupported value: \"x\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                "spec.capacity: Required value",
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ],
        );
        check(
            validate_volume_update(&volume(json!({"hostPath": {"path": "/b"}})), &good),
            &[
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
            ],
        );
    }

    #[test]
    fn claims() {
        let claim = |spec: Value| json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec, "status": {"phase": "Bound"}});
        let good = claim(
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}),
        );
        check(validate_claim(&good), &[]);
        check(
            validate_claim(&claim(json!({}))),
            &[
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources.requests[storage]: Required value",
            ],
        );
        let grown = claim(
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}),
        );
        check(validate_claim_update(&grown, &good), &[]);
        check(
            validate_claim_update(&good, &grown),
            &[
                "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
            ],
        );
        let other = claim(
            json!({"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}),
        );
        assert_eq!(validate_claim_update(&other, &good).len(), 1);
    }

    #[test]
    fn classes() {
        let class = |provisioner: &str| json!({"metadata": {"name": "a"}, "provisioner": provisioner, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"});
        check(validate_class(&class("x.io/y")), &[]);
        check(validate_class(&class("")), &["provisioner: Required value"]);
        check(
            validate_class_update(&class("a"), &class("b")),
            &["provisioner: Forbidden: updates to provisioner are forbidden."],
        );
    }
}
