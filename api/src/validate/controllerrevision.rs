//! Rules for ControllerRevisions: data that never changes, under a number that does.

use serde_json::Value;

use super::{Errors, immutable, metadata, non_negative};
use crate::field_error::FieldError;
use crate::names;

/// Checks a new ControllerRevision.
pub fn validate(object: &Value) -> Errors {
    let mut errors = check(object);
    match &object["data"] {
        Value::Null => errors.push(FieldError::required("data", "data is mandatory")),
        Value::Object(_) => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            errors.push(FieldError::required("data", "data must be a valid JSON object"));
        }
    }
    errors
}

/// Checks a changed ControllerRevision.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    errors.extend(check(new));
    immutable(&mut errors, "data", &new["data"], &old["data"]);
    errors
}

fn check(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    non_negative(&mut errors, "revision", object["revision"].as_i64());
    errors
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_needed_and_stays() {
        let revision = |data: Value| json!({"metadata": {"name": "a", "namespace": "b"}, "data": data, "revision": 1});
        testing::check(validate(&revision(json!({"x": 1}))), &[]);
        testing::check(
            validate(&revision(Value::Null)),
            &["data: Required value: data is mandatory"],
        );
        testing::check(
            validate_update(&revision(json!({"x": 2})), &revision(json!({"x": 1}))),
            &["data: Invalid value: {\"x\":2}: field is immutable"],
        );
    }
}
