//! Rules for PodDisruptionBudgets. *Source:* `pkg/apis/policy/validation`.

use serde_json::Value;

use super::{Errors, amount, has, labels, metadata, non_negative, number, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new PodDisruptionBudget.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed PodDisruptionBudget.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    errors
}

/// Checks a changed status of a PodDisruptionBudget.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let path = Path::root("status");
    for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        non_negative(&mut errors, path.child(field), number(&new["status"], field));
    }
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    if has(spec, "minAvailable") && has(spec, "maxUnavailable") {
        let words = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid(SPEC, spec, words));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        amount::check(errors, &SPEC.child(field), &spec[field]);
        amount::check_percent(errors, &SPEC.child(field), &spec[field]);
    }
    labels::check_selector(errors, &SPEC.child("selector"), &spec["selector"]);
    let policy = text(spec, "unhealthyPodEvictionPolicy");
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    if has(spec, "unhealthyPodEvictionPolicy") && !policies.contains(&policy) {
        let path = SPEC.child("unhealthyPodEvictionPolicy");
        errors.push(FieldError::not_supported(path, policy, &policies));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn one_of_both() {
        let budget =
            |spec: Value| json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec});
        check(validate(&budget(json!({"minAvailable": "50%"}))), &[]);
        check(
            validate(&budget(json!({"minAvailable": 1, "maxUnavailable": "150%"}))),
            &[
                "spec: Invalid value: {\"maxUnavailable\":\"150%\",\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
                "spec.maxUnavailable: Invalid value: \"150%\": must not be greater than 100%",
            ],
        );
    }
}
