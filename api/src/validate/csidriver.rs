//! Rules for CSIDrivers. *Source:* `ValidateCSIDriver` in `pkg/apis/storage/validation`.

use std::collections::HashSet;

use serde_json::Value;

use super::{Errors, has, immutable, items, metadata, number, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Shortest time between two reports of how many volumes a node takes.
const UPDATE_PERIOD_SECONDS_MIN: i64 = 10;

/// Shortest life of a token that a driver asks for.
const TOKEN_SECONDS_MIN: i64 = 600;

/// Longest life of a token that a driver asks for.
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// Checks a new CSIDriver.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed CSIDriver.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    check(&mut errors, spec);
    // Upstream's name for the first field is not that of the API.
    for (shown, field) in
        [("attachedRequired", "attachRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
    {
        immutable(&mut errors, SPEC.child(shown), &spec[field], &before[field]);
    }
    errors
}

fn check(errors: &mut Errors, spec: &Value) {
    for (shown, field) in [
        ("attachedRequired", "attachRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        if !has(spec, field) {
            errors.push(FieldError::required(SPEC.child(shown), ""));
        }
    }
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    let policy = text(spec, "fsGroupPolicy");
    if has(spec, "fsGroupPolicy") && !policies.contains(&policy) {
        errors.push(FieldError::not_supported(SPEC.child("fsGroupPolicy"), policy, &policies));
    }
    check_tokens(errors, spec);
    let modes = ["Persistent", "Ephemeral"];
    for mode in items(spec, "volumeLifecycleModes").iter().filter_map(Value::as_str) {
        if !modes.contains(&mode) {
            let path = SPEC.child("volumeLifecycleModes");
            errors.push(FieldError::not_supported(path, mode, &modes));
        }
    }
    if !has(spec, "seLinuxMount") {
        errors.push(FieldError::required(SPEC.child("seLinuxMount"), ""));
    }
    let field = "nodeAllocatableUpdatePeriodSeconds";
    if let Some(period) = number(spec, field).filter(|period| *period < UPDATE_PERIOD_SECONDS_MIN) {
        let words = "must be greater than or equal to 10 seconds";
        errors.push(FieldError::invalid(SPEC.child(field), period, words));
    }
    let field = "serviceAccountTokenInSecrets";
    if has(spec, field) && items(spec, "tokenRequests").is_empty() {
        let words = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.push(FieldError::invalid(SPEC.child(field), &spec[field], words));
    }
}

fn check_tokens(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("tokenRequests");
    let mut audiences = HashSet::new();
    for (index, request) in items(spec, "tokenRequests").iter().enumerate() {
        let (path, audience) = (path.index(index), text(request, "audience"));
        if !audiences.insert(audience) {
            errors.push(FieldError::duplicate(path.child("audience"), audience));
            continue;
        }
        let Some(seconds) = number(request, "expirationSeconds") else { continue };
        let words = match seconds {
            ..TOKEN_SECONDS_MIN => "may not specify a duration less than 10 minutes",
            TOKEN_SECONDS_MIN..=TOKEN_SECONDS_MAX => continue,
            _ => "may not specify a duration larger than 2^32 seconds",
        };
        errors.push(FieldError::invalid(path.child("expirationSeconds"), seconds, words));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check as compare;
    use super::*;
    use serde_json::json;

    fn driver(change: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a.example.com"}, "spec": {}});
        crate::defaults::storage::set_driver(&mut object);
        object["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        object
    }

    #[test]
    fn what_a_driver_says() {
        compare(validate(&driver(json!({}))), &[]);
        compare(
            validate(&driver(json!({"fsGroupPolicy": "Q", "volumeLifecycleModes": ["Never"],
                "nodeAllocatableUpdatePeriodSeconds": 9, "serviceAccountTokenInSecrets": true}))),
            &[
                "spec.fsGroupPolicy: Unsupported value: \"Q\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
                "spec.volumeLifecycleModes: Unsupported value: \"Never\": supported values: \"Persistent\", \"Ephemeral\"",
                "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
                "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no tokenRequests are specified",
            ],
        );
        compare(
            validate(&driver(
                json!({"tokenRequests": [{"audience": "a", "expirationSeconds": 5}, {"audience": "a"},
                {"audience": "b", "expirationSeconds": (1_i64 << 32) + 1}]}),
            )),
            &[
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                "spec.tokenRequests[2].expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
            ],
        );
    }

    #[test]
    fn some_of_it_stays() {
        let old = driver(json!({}));
        compare(validate_update(&driver(json!({"podInfoOnMount": true})), &old), &[]);
        compare(
            validate_update(&driver(json!({"attachRequired": false})), &old),
            &["spec.attachedRequired: Invalid value: false: field is immutable"],
        );
    }
}
