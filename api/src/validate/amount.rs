//! Numbers or percentages, as rolling updates and disruption budgets have them.

use serde_json::Value;

use super::{Errors, non_negative};
use crate::field_error::{FieldError, Path};

/// Checks a number or percentage.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, value: &Value) {
    match value {
        Value::String(_) if read(value).is_none() => {
            let words = "a valid percent string must be a numeric string followed by an ending \
                         '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            errors.push(FieldError::invalid(path, value, words));
        }
        Value::Number(_) => non_negative(errors, path, value.as_i64()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {}
    }
}

/// Refuses more than all.
pub(super) fn check_percent(errors: &mut Errors, path: &Path<'_>, value: &Value) {
    if value.is_string() && read(value).is_some_and(|percent| percent > 100) {
        errors.push(FieldError::invalid(path, value, "must not be greater than 100%"));
    }
}

/// Reads a number or a percentage; an absent one is 0.
pub(super) fn read(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => {
            let digits = text.strip_suffix('%')?;
            let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| all_digits)
        }
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
