//! Rules for VolumeAttributesClasses. *Source:* `ValidateVolumeAttributesClass` in `pkg/apis/storage/validation`.

use serde_json::Value;

use super::{Errors, complain, metadata, same, text};
use crate::field_error::FieldError;
use crate::names;

/// Most parameters of a class.
const PARAMETERS_MAX: usize = 512;

/// Most bytes of all parameters of a class together, keys and values.
const PARAMETERS_BYTES_MAX: usize = 256 << 10;

/// Checks a new VolumeAttributesClass.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check(&mut errors, object);
    errors
}

/// Checks a changed VolumeAttributesClass: it means the same for good.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    for field in ["driverName", "parameters"] {
        if !same(&new[field], &old[field]) {
            let words = format!("updates to {field} are forbidden.");
            errors.push(FieldError::forbidden(field, words));
        }
    }
    check(&mut errors, new);
    errors
}

fn check(errors: &mut Errors, object: &Value) {
    let driver = text(object, "driverName");
    if driver.is_empty() {
        errors.push(FieldError::required("driverName", ""));
    } else {
        let lower = driver.to_lowercase();
        complain(errors, "driverName", &lower, names::qualified_name(&lower));
    }
    let parameters: Vec<(&String, &str)> = object["parameters"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.as_str().unwrap_or_default()))
        .collect();
    if parameters.len() > PARAMETERS_MAX {
        return errors.push(FieldError::too_long("parameters", PARAMETERS_MAX));
    }
    if parameters.iter().any(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid("parameters", "", "field can not be empty."));
    }
    let bytes: usize = parameters.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > PARAMETERS_BYTES_MAX {
        errors.push(FieldError::too_long("parameters", PARAMETERS_BYTES_MAX));
    }
    if parameters.is_empty() {
        let words = "must contain at least one key/value pair";
        errors.push(FieldError::required("parameters", words));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check as compare;
    use super::*;
    use serde_json::json;

    #[test]
    fn driver_and_parameters() {
        let of = |driver: &str, parameters: Value| json!({"metadata": {"name": "gold"}, "driverName": driver, "parameters": parameters});
        let gold = of("a.example.com", json!({"iops": "100"}));
        compare(validate(&gold), &[]);
        compare(
            validate(&of("", json!({}))),
            &[
                "driverName: Required value",
                "parameters: Required value: must contain at least one key/value pair",
            ],
        );
        compare(
            validate(&of("a", json!({"": "x".repeat(PARAMETERS_BYTES_MAX + 1)}))),
            &[
                "parameters: Invalid value: \"\": field can not be empty.",
                "parameters: Too long: may not be more than 262144 bytes",
            ],
        );
        compare(
            validate_update(&of("b.example.com", json!({"iops": "200"})), &gold),
            &[
                "driverName: Forbidden: updates to driverName are forbidden.",
                "parameters: Forbidden: updates to parameters are forbidden.",
            ],
        );
    }
}
