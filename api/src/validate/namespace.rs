//! Rules for Namespaces.

use serde_json::Value;

use super::{Errors, complain, items, metadata, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Checks a new Namespace.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_label);
    check_finalizers(&mut errors, object);
    errors
}

/// Checks a changed Namespace.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    metadata::validate_update(new, old)
}

/// Checks a changed status: a Namespace that is not being deleted is active.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let phase = text(&new["status"], "phase");
    let deleted = !new["metadata"]["deletionTimestamp"].is_null();
    let path = "status.Phase";
    if !deleted && phase != "Active" {
        let words = "may only be 'Active' if `deletionTimestamp` is empty";
        errors.push(FieldError::invalid(path, phase, words));
    }
    if deleted && phase != "Terminating" {
        let words = "may only be 'Terminating' if `deletionTimestamp` is not empty";
        errors.push(FieldError::invalid(path, phase, words));
    }
    errors
}

/// Checks changed finalizers (`spec.finalizers`) of a Namespace.
pub fn validate_finalize_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_finalizers(&mut errors, new);
    errors
}

fn check_finalizers(errors: &mut Errors, object: &Value) {
    let spec = Path::root("spec");
    let path = spec.child("finalizers");
    for (index, name) in items(&object["spec"], "finalizers").iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        complain(errors, path.index(index), name, names::qualified_name(name));
        if !name.contains('/') && name != "kubernetes" {
            let words = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path.index(index), name, words));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_phases() {
        let namespace = |name: &str, phase: &str| {
            json!({"metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]},
                   "status": {"phase": phase}})
        };
        check(validate(&namespace("a", "Active")), &[]);
        check(
            validate(&namespace("a.b", "Active")),
            &["metadata.name: Invalid value: \"a.b\": must not contain dots"],
        );
        let old = namespace("a", "Active");
        check(
            validate_status_update(&namespace("a", "Terminating"), &old),
            &[
                "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty",
            ],
        );
    }
}
