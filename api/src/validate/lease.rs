//! Rules for Leases.

use serde_json::Value;

use super::{Errors, has, metadata, number};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Checks a new Lease.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed Lease.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    let path = Path::root("spec");
    if let Some(seconds) = number(spec, "leaseDurationSeconds").filter(|&seconds| seconds <= 0) {
        let field = path.child("leaseDurationSeconds");
        errors.push(FieldError::invalid(field, seconds, "must be greater than 0"));
    }
    if let Some(number) = number(spec, "leaseTransitions").filter(|&number| number < 0) {
        let field = path.child("leaseTransitions");
        errors.push(FieldError::invalid(field, number, "must be greater than or equal to 0"));
    }
    if has(spec, "preferredHolder") && !has(spec, "strategy") {
        let words = "may only be specified if `strategy` is defined";
        errors.push(FieldError::forbidden(path.child("preferredHolder"), words));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn durations() {
        let lease = |seconds: i64| json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"leaseDurationSeconds": seconds}});
        check(validate(&lease(40)), &[]);
        check(
            validate_update(&lease(0), &lease(40)),
            &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        );
    }
}
