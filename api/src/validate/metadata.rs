//! Rules for `metadata`, shared by all kinds.
//! *Source:* `k8s.io/apimachinery/pkg/api/validation/objectmeta.go`.

use serde_json::Value;

use super::{Errors, complain, has, immutable, items, labels, non_negative, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Most bytes of all annotations of an object together, keys and values.
pub const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Says what is wrong with a name, empty when nothing is.
pub type NameRule = fn(&str) -> Vec<String>;

const METADATA: Path<'static> = Path::root("metadata");

/// Checks the metadata of a new object.
///
/// `name_rule` is the format of the kind's names.
pub fn validate(object: &Value, namespaced: bool, name_rule: NameRule) -> Errors {
    let mut errors = vec![];
    let metadata = &object["metadata"];
    check_name(&mut errors, metadata, name_rule);
    check_namespace(&mut errors, metadata, namespaced);
    let generation = metadata["generation"].as_i64();
    non_negative(&mut errors, METADATA.child("generation"), generation);
    check_rest(&mut errors, metadata);
    check_finalizers(&mut errors, metadata);
    errors
}

/// Checks the metadata of a changed object: what may not change has not, and the rest is well
/// formed.
///
/// Whether `resourceVersion` is needed and fits is decided by the caller, who knows the kind and
/// the stored revision.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = vec![];
    let (new, old) = (&new["metadata"], &old["metadata"]);
    if has(old, "deletionTimestamp") {
        check_no_new_finalizers(&mut errors, new, old);
    }
    let generation = |metadata: &Value| metadata["generation"].as_i64().unwrap_or_default();
    if generation(new) < generation(old) {
        let path = METADATA.child("generation");
        errors.push(FieldError::invalid(path, generation(new), "must not be decremented"));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        immutable(&mut errors, METADATA.child(field), &new[field], &old[field]);
    }
    check_rest(&mut errors, new);
    check_finalizers(&mut errors, new);
    errors
}

fn check_name(errors: &mut Errors, metadata: &Value, rule: NameRule) {
    let generate_name = text(metadata, "generateName");
    if !generate_name.is_empty() {
        // What is generated does not end in the dash of its base.
        let masked = match generate_name.strip_suffix('-') {
            Some(base) if !base.is_empty() => format!("{base}a"),
            _ => generate_name.to_owned(),
        };
        complain(errors, METADATA.child("generateName"), generate_name, rule(&masked));
    }
    let name = text(metadata, "name");
    let path = METADATA.child("name");
    if name.is_empty() {
        errors.push(FieldError::required(path, "name or generateName is required"));
    } else {
        complain(errors, path, name, rule(name));
    }
}

fn check_namespace(errors: &mut Errors, metadata: &Value, namespaced: bool) {
    let namespace = text(metadata, "namespace");
    let path = METADATA.child("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required(path, "")),
        (true, false) => complain(errors, path, namespace, names::dns1123_label(namespace)),
        (false, true) => {}
        (false, false) => errors.push(FieldError::forbidden(path, "not allowed on this type")),
    }
}

fn check_rest(errors: &mut Errors, metadata: &Value) {
    labels::check(errors, &METADATA.child("labels"), &metadata["labels"]);
    check_annotations(errors, &METADATA.child("annotations"), &metadata["annotations"]);
    check_owner_references(errors, items(metadata, "ownerReferences"));
}

/// Checks annotations: their keys, and how many bytes they have together.
pub(super) fn check_annotations(errors: &mut Errors, path: &Path<'_>, annotations: &Value) {
    let Some(annotations) = annotations.as_object() else { return };
    let mut bytes = 0;
    for (key, value) in annotations {
        complain(errors, path, key, names::qualified_name(&key.to_ascii_lowercase()));
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
}

fn check_owner_references(errors: &mut Errors, owners: &[Value]) {
    let path = METADATA.child("ownerReferences");
    let mut controller: Option<String> = None;
    for owner in owners {
        let api_version = text(owner, "apiVersion");
        let version = api_version.rsplit('/').next().unwrap_or_default();
        if version.is_empty() {
            let words = "version must not be empty";
            errors.push(FieldError::invalid(path.child("apiVersion"), api_version, words));
        }
        for field in ["kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                errors.push(FieldError::invalid(path.child(field), "", "must not be empty"));
            }
        }
        if (api_version, text(owner, "kind")) == ("v1", "Event") {
            let words = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(path, owner, words));
        }
        if owner["controller"] == Value::Bool(true) {
            let name = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
            match &controller {
                None => controller = Some(name),
                Some(first) => errors.push(FieldError::invalid(
                    path,
                    owners,
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in \
                         references for {first} and {name}"
                    ),
                )),
            }
        }
    }
}

/// Checks that each finalizer of a new object of a built-in kind says whose it is.
///
/// *Source:* `validateKubeFinalizerName` in `pkg/apis/core/validation`.
pub fn check_owned_finalizers(errors: &mut Errors, object: &Value) {
    let path = METADATA.child("finalizers");
    let standard = ["kubernetes", "foregroundDeletion", "orphan"];
    for (index, name) in items(&object["metadata"], "finalizers").iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        if !name.contains('/') && !standard.contains(&name) {
            let words = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path.index(index), name, words));
        }
    }
}

fn check_finalizers(errors: &mut Errors, metadata: &Value) {
    let path = METADATA.child("finalizers");
    let finalizers = items(metadata, "finalizers");
    for finalizer in finalizers.iter().filter_map(Value::as_str) {
        complain(errors, path, finalizer, names::qualified_name(finalizer));
    }
    let holds = |name: &str| finalizers.iter().any(|finalizer| finalizer.as_str() == Some(name));
    if holds("orphan") && holds("foregroundDeletion") {
        let words = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, finalizers, words));
    }
}

fn check_no_new_finalizers(errors: &mut Errors, new: &Value, old: &Value) {
    let known = items(old, "finalizers");
    let mut added: Vec<String> = items(new, "finalizers")
        .iter()
        .filter(|finalizer| !known.contains(finalizer))
        .map(Value::to_string)
        .collect();
    added.sort();
    if !added.is_empty() {
        errors.push(FieldError::forbidden(
            METADATA.child("finalizers"),
            format!(
                "no new finalizers can be added if the object is being deleted, found new \
                 finalizers []string{{{}}}",
                added.join(", ")
            ),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn object(metadata: Value) -> Value {
        json!({"metadata": metadata})
    }

    #[test]
    fn names_and_namespaces() {
        let rule = names::dns1123_label;
        check(validate(&object(json!({"name": "a", "namespace": "b"})), true, rule), &[]);
        check(
            validate(&object(json!({"namespace": "b"})), true, rule),
            &["metadata.name: Required value: name or generateName is required"],
        );
        check(
            validate(&object(json!({"name": "a.b"})), true, rule),
            &[
                "metadata.name: Invalid value: \"a.b\": must not contain dots",
                "metadata.namespace: Required value",
            ],
        );
        check(
            validate(&object(json!({"name": "a", "namespace": "b"})), false, rule),
            &["metadata.namespace: Forbidden: not allowed on this type"],
        );
        let generated = json!({"generateName": "web-", "name": "web-x", "namespace": "b"});
        check(validate(&object(generated), true, rule), &[]);
    }

    #[test]
    fn owners_and_finalizers() {
        let owner = |name: &str| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "u", "controller": true});
        let metadata = json!({"name": "a", "ownerReferences": [owner("x"), owner("y")], "finalizers": ["bad name"]});
        let errors = validate(&object(metadata), false, names::dns1123_label);
        assert_eq!(errors.len(), 2);
        assert!(errors[0].message.contains("Only one reference can have Controller set to true"));
        assert_eq!(errors[1].field, "metadata.finalizers");
    }

    #[test]
    fn too_many_annotations() {
        let metadata =
            json!({"name": "a", "annotations": {"k": "x".repeat(ANNOTATIONS_BYTES_MAX)}});
        check(
            validate(&object(metadata), false, names::dns1123_label),
            &["metadata.annotations: Too long: may not be more than 262144 bytes"],
        );
    }

    #[test]
    fn updates() {
        let old =
            object(json!({"name": "a", "uid": "1", "deletionTimestamp": "t", "generation": 2}));
        let new = object(
            json!({"name": "b", "uid": "1", "deletionTimestamp": "t", "generation": 1, "finalizers": ["x/y"]}),
        );
        check(
            validate_update(&new, &old),
            &[
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x/y\"}",
                "metadata.generation: Invalid value: 1: must not be decremented",
                "metadata.name: Invalid value: \"b\": field is immutable",
            ],
        );
    }
}
