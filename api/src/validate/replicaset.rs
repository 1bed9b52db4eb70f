//! Rules for ReplicaSets.

use serde_json::Value;

use super::{Errors, immutable, metadata, non_negative, number, workload};
use crate::field_error::Path;
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new ReplicaSet.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed ReplicaSet: its selector stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    let path = SPEC.child("selector");
    immutable(&mut errors, path, &new["spec"]["selector"], &old["spec"]["selector"]);
    errors
}

/// Checks a changed status of a ReplicaSet.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    workload::check_status(&mut errors, &new["status"], &parts);
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    for field in ["replicas", "minReadySeconds"] {
        non_negative(errors, SPEC.child(field), number(spec, field));
    }
    workload::check(errors, spec, "ReplicaSet");
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn status_counts_fit() {
        let set =
            |status: Value| json!({"metadata": {"name": "a", "namespace": "b"}, "status": status});
        let old = set(json!({}));
        check(validate_status_update(&set(json!({"replicas": 2, "readyReplicas": 1})), &old), &[]);
        check(
            validate_status_update(
                &set(json!({"replicas": 1, "readyReplicas": 0, "availableReplicas": 2})),
                &old,
            ),
            &[
                "status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas",
            ],
        );
    }
}
