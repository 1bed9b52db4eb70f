//! Rules for requests and limits of resources.
//! *Source:* `validateResourceRequirements` in `pkg/apis/core/validation`.

use serde_json::Value;

use super::{Errors, NEGATIVE, complain, items};
use crate::field_error::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;
use crate::quota;

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
    check_named(errors, path, resources, check_name);
}

/// Checks the resources of a pod as a whole, which its containers share.
///
/// *Source:* `validatePodResources` and `validatePodResourceConsistency`; KEP-2837.
pub(super) fn check_of_pod(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let own = &spec["resources"];
    if !own.is_object() {
        return;
    }
    if spec["os"]["name"] == "windows" {
        return errors.push(FieldError::forbidden(*path, "may not be set for a windows pod"));
    }
    if !own["claims"].is_null() {
        let words = "claims may not be set for Resources at pod-level";
        errors.push(FieldError::forbidden(path.child("claims"), words));
    }
    check_named(errors, path, own, check_name_of_pod);
    let requests_path = path.child("requests");
    for (name, sum) in quota::of_containers(spec, "requests") {
        let own = quantity(&own["requests"][&name]);
        if let Some(own) = own.filter(|own| sum > *own) {
            let words =
                format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(FieldError::invalid(requests_path.key(&name), own.to_string(), words));
        }
    }
    let containers_path = path.child("containers");
    for (index, container) in items(spec, "containers").iter().enumerate() {
        let path = containers_path.index(index);
        for (name, amount) in container["resources"]["limits"].as_object().into_iter().flatten() {
            let (Some(amount), Some(own)) = (quantity(amount), quantity(&own["limits"][name]))
            else {
                continue;
            };
            if amount > own {
                let words = format!("must be less than or equal to pod limits of {own}");
                let path = path.key(name);
                errors.push(FieldError::invalid(path.child("limits"), amount.to_string(), words));
            }
        }
    }
}

fn check_named(
    errors: &mut Errors,
    path: &Path<'_>,
    resources: &Value,
    check_name: fn(&mut Errors, &Path<'_>, &str),
) {
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

/// What containers can share.
fn check_name_of_pod(errors: &mut Errors, path: &Path<'_>, name: &str) {
    let complaints = names::qualified_name(name);
    let malformed = !complaints.is_empty();
    complain(errors, path, name, complaints);
    if !malformed && !matches!(name, "cpu" | "memory") && !name.starts_with("hugepages-") {
        errors.push(FieldError::not_supported(*path, name, &["cpu", "hugepages-", "memory"]));
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
    fn a_pod_s_containers_stay_below_what_they_share() {
        let spec = json!({
            "resources": {"limits": {"cpu": "1", "foo": "1"}, "requests": {"cpu": "2", "memory": "1Mi"}},
            "containers": [
                {"resources": {"requests": {"memory": "1Mi"}, "limits": {"cpu": "1"}}},
                {"resources": {"requests": {"memory": "1Mi"}, "limits": {"cpu": "1001m"}}},
            ],
        });
        let mut errors = vec![];
        check_of_pod(&mut errors, &Path::root("resources"), &spec);
        testing::check(
            errors,
            &[
                "resources.limits[foo]: Unsupported value: \"foo\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
                "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
                "resources.requests[memory]: Invalid value: \"1Mi\": must be greater than or equal to aggregate container requests of 2Mi",
                "resources.containers[1][cpu].limits: Invalid value: \"1001m\": must be less than or equal to pod limits of 1",
            ],
        );
        let mut errors = vec![];
        check_of_pod(&mut errors, &Path::root("resources"), &json!({"containers": [{}]}));
        testing::check(errors, &[]);
    }

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
