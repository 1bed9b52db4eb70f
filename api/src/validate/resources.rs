//! Rules for requests and limits of resources.
//! *Source:* `validateResourceRequirements` in `pkg/apis/core/validation`.

use serde_json::Value;

use super::{Errors, NEGATIVE, complain};
use crate::field_error::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

/// Reads a quantity, which JSON may write as a number.
pub(super) fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Checks `resources` of a container: names, amounts, and that no request is above its limit.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, resources: &Value) {
    let limits = &resources["limits"];
    check_list(errors, &path.child("limits"), limits, check_name);
    let requests_path = path.child("requests");
    check_list(errors, &requests_path, &resources["requests"], check_name);
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = limits.get(name);
        let (Some(request), limit) = (quantity(request), limit.and_then(quantity)) else {
            continue;
        };
        let exact = !may_overcommit(name);
        match limit {
            Some(limit) if exact && request != limit => {
                let words = format!("must be equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(requests_path, request.to_string(), words));
            }
            Some(limit) if request > limit => {
                let words = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(requests_path, request.to_string(), words));
            }
            Some(_) => {}
            None if exact => {
                let words = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(path.child("limits"), words));
            }
            None => {}
        }
    }
}

/// Checks a map of amounts; `check_name` judges the names.
pub(super) fn check_list(
    errors: &mut Errors,
    path: &Path<'_>,
    list: &Value,
    check_name: fn(&mut Errors, &Path<'_>, &str),
) {
    for (name, amount) in list.as_object().into_iter().flatten() {
        let path = path.key(name);
        check_name(errors, &path, name);
        match quantity(amount) {
            None => {
                let words = crate::quantity::ParseQuantityError::Format.to_string();
                errors.push(FieldError::invalid(path, amount, words));
            }
            Some(amount) if amount.is_negative() => {
                errors.push(FieldError::invalid(path, amount.to_string(), NEGATIVE));
            }
            Some(amount) if is_whole(name) && amount.milli_value() % 1000 != 0 => {
                errors.push(FieldError::invalid(path, amount.to_string(), "must be an integer"));
            }
            Some(_) => {}
        }
    }
}

fn check_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    let complaints = names::qualified_name(name);
    let malformed = !complaints.is_empty();
    complain(errors, path, name, complaints);
    let standard =
        matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !malformed && !name.contains('/') && !standard {
        let words = "must be a standard resource for containers";
        errors.push(FieldError::invalid(path, name, words));
    }
}

/// Accepts any qualified name, as node status does.
pub(super) fn any_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    complain(errors, path, name, names::qualified_name(name));
}

fn may_overcommit(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    native && !name.starts_with("hugepages-")
}

fn is_whole(name: &str) -> bool {
    name.contains('/') || name == "pods"
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_stay_below_limits() {
        let resources = json!({
            "limits": {"cpu": "1", "memory": "1Gi", "x.io/gpu": "2"},
            "requests": {"cpu": "1500m", "memory": "-1", "x.io/gpu": "1", "disk": "1"},
        });
        let mut errors = vec![];
        check(&mut errors, &Path::root("resources"), &resources);
        testing::check(
            errors,
            &[
                "resources.requests[disk]: Invalid value: \"disk\": must be a standard resource for containers",
                "resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
                "resources.requests: Invalid value: \"1500m\": must be less than or equal to cpu limit of 1",
                "resources.requests: Invalid value: \"1\": must be equal to x.io/gpu limit of 2",
            ],
        );
    }
}
