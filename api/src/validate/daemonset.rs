//! Rules for DaemonSets. *Source:* `ValidateDaemonSetSpec` in `pkg/apis/apps/validation`.

use serde_json::Value;

use super::{Errors, amount, has, immutable, metadata, non_negative, number, text, workload};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new DaemonSet.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed DaemonSet: its selector stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    let path = SPEC.child("selector");
    immutable(&mut errors, path, &new["spec"]["selector"], &old["spec"]["selector"]);
    errors
}

/// Checks a changed status of a DaemonSet: no count is negative.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let path = Path::root("status");
    for field in [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ] {
        non_negative(&mut errors, path.child(field), number(&new["status"], field));
    }
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    workload::check_as(errors, spec, "DaemonSet", "daemonset");
    for field in ["minReadySeconds", "revisionHistoryLimit"] {
        non_negative(errors, SPEC.child(field), number(spec, field));
    }
    let strategy = &spec["updateStrategy"];
    let path = SPEC.child("updateStrategy");
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" if has(strategy, "rollingUpdate") => {
            check_rolling(errors, &path.child("rollingUpdate"), &strategy["rollingUpdate"]);
        }
        "RollingUpdate" => errors.push(FieldError::required(path.child("rollingUpdate"), "")),
        kind => {
            let kinds = ["OnDelete", "RollingUpdate"];
            errors.push(FieldError::not_supported(path.child("type"), kind, &kinds));
        }
    }
}

fn check_rolling(errors: &mut Errors, path: &Path<'_>, rolling: &Value) {
    let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
    for (field, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
        amount::check(errors, &path.child(field), value);
        amount::check_percent(errors, &path.child(field), value);
    }
    let zero = |value: &Value| amount::read(value) == Some(0);
    if zero(unavailable) && zero(surge) {
        let words = "cannot be 0 when maxSurge is 0";
        errors.push(FieldError::invalid(path.child("maxUnavailable"), unavailable, words));
    } else if !zero(unavailable) && !zero(surge) {
        let words = "may not be set when maxSurge is non-zero";
        errors.push(FieldError::invalid(path, rolling, words));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, workload};
    use super::*;
    use serde_json::json;

    #[test]
    fn strategies() {
        let set = |rolling: Value| {
            workload(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}))
        };
        check(validate(&set(json!({"maxUnavailable": 1, "maxSurge": 0}))), &[]);
        check(
            validate(&set(json!({"maxUnavailable": 0, "maxSurge": 0}))),
            &[
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0 when maxSurge is 0",
            ],
        );
        check(
            validate(&workload(json!({"updateStrategy": {"type": "x"}}))),
            &[
                "spec.updateStrategy.type: Unsupported value: \"x\": supported values: \"OnDelete\", \"RollingUpdate\"",
            ],
        );
    }
}
