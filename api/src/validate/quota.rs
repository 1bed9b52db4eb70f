//! Rules for ResourceQuotas and LimitRanges. *Source:* `pkg/apis/core/validation`.

use serde_json::{Map, Value};

use super::resources::{any_name, check_list, quantity};
use super::{Errors, complain, has, items, metadata, one_of, same, text};
use crate::field_error::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

const SPEC: Path<'static> = Path::root("spec");

/// Resources that a quota may measure, and pods; beside [`COUNTED`], those of other groups and `count/…`.
const MEASURED: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];

/// Resources of which there are so many, besides pods.
const COUNTED: &[&str] = &[
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// Checks a new ResourceQuota.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed ResourceQuota: its scopes stay.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    let (scopes, before) = (&new["spec"]["scopes"], &old["spec"]["scopes"]);
    if !same(scopes, before) {
        errors.push(FieldError::invalid(SPEC.child("scopes"), scopes, super::IMMUTABLE));
    }
    errors
}

/// Checks a changed status of a ResourceQuota.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let path = Path::root("status");
    for field in ["hard", "used"] {
        check_list(&mut errors, &path.child(field), &new["status"][field], quota_name);
    }
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    check_list(errors, &SPEC.child("hard"), &spec["hard"], quota_name);
    check_whole(errors, &SPEC.child("hard"), &spec["hard"]);
    let path = SPEC.child("scopes");
    let scopes = items(spec, "scopes");
    for scope in scopes.iter().filter_map(Value::as_str) {
        if !SCOPES.contains(&scope) {
            let words = "unsupported scope";
            errors.push(FieldError::invalid(path, scopes, words));
        }
    }
    let has_scope = |name: &str| scopes.iter().any(|scope| scope == name);
    let pairs = [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];
    if pairs.iter().any(|(one, other)| has_scope(one) && has_scope(other)) {
        errors.push(FieldError::invalid(path, scopes, "conflicting scopes"));
    }
    let path = SPEC.child("scopeSelector");
    let path = path.child("matchExpressions");
    for (index, expression) in items(&spec["scopeSelector"], "matchExpressions").iter().enumerate()
    {
        let path = path.index(index);
        let scope = text(expression, "scopeName");
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(path.child("scopeName"), scope, "unsupported scope"));
        }
        let operators = ["DoesNotExist", "Exists", "In", "NotIn"];
        one_of(errors, path.child("operator"), text(expression, "operator"), &operators);
    }
}

fn quota_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    let complaints = names::qualified_name(name);
    let malformed = !complaints.is_empty();
    complain(errors, path, name, complaints);
    let prefixed = ["hugepages-", "requests.hugepages-", "limits.hugepages-"];
    let known = MEASURED.contains(&name)
        || COUNTED.contains(&name)
        || prefixed.iter().any(|prefix| name.starts_with(prefix));
    if !malformed && !name.contains('/') && !known {
        let words = "must be a standard resource for quota";
        errors.push(FieldError::invalid(path, name, words));
    }
}

/// Checks what is counted, and so has no halves.
fn check_whole(errors: &mut Errors, path: &Path<'_>, list: &Value) {
    for (name, amount) in list.as_object().into_iter().flatten() {
        let counted = COUNTED.contains(&name.as_str()) || name.starts_with("count/");
        let halves = quantity(amount).is_some_and(|amount| amount.milli_value() % 1000 != 0);
        if let Some(amount) = quantity(amount).filter(|_| counted && halves) {
            let words = "must be an integer";
            errors.push(FieldError::invalid(path.key(name), amount.to_string(), words));
        }
    }
}

/// Checks a new LimitRange.
pub fn validate_range(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_limits(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed LimitRange.
pub fn validate_range_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_limits(&mut errors, &new["spec"]);
    errors
}

fn check_limits(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("limits");
    let mut seen: Vec<&str> = Vec::new();
    for (index, limit) in items(spec, "limits").iter().enumerate() {
        let path = path.index(index);
        let kind = text(limit, "type");
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(path.child("type"), kind));
        }
        seen.push(kind);
        check_limit(errors, &path, kind, limit);
    }
}

fn check_limit(errors: &mut Errors, path: &Path<'_>, kind: &str, limit: &Value) {
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        check_list(errors, &path.child(field), &limit[field], any_name);
    }
    if kind == "Pod" {
        for field in ["default", "defaultRequest"] {
            if limit[field].as_object().is_some_and(|list| !list.is_empty()) {
                let words = "may not be specified when `type` is 'Pod'";
                errors.push(FieldError::forbidden(path.child(field), words));
            }
        }
    }
    let storage = |field: &str| limit[field].get("storage").is_some();
    if kind == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
        let words = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(path.child("limits"), words));
    }
    let fields = ["min", "defaultRequest", "default", "max"];
    for (index, low) in fields.iter().enumerate() {
        for high in fields.iter().skip(index + 1) {
            check_order(errors, path, limit, (low, high));
        }
    }
}

/// Refuses an amount that is above one that bounds it.
fn check_order(errors: &mut Errors, path: &Path<'_>, limit: &Value, (low, high): (&str, &str)) {
    if !has(limit, low) || !has(limit, high) {
        return;
    }
    let lower: Option<&Map<String, Value>> = limit[low].as_object();
    for (name, amount) in lower.into_iter().flatten() {
        let amounts: (Option<Quantity>, Option<Quantity>) =
            (quantity(amount), limit[high].get(name).and_then(quantity));
        let (Some(amount), Some(bound)) = amounts else { continue };
        if amount > bound {
            let words = format!(
                "{} value {amount} is greater than {} value {bound}",
                word(low),
                word(high)
            );
            errors.push(FieldError::invalid(path.child(low).key(name), amount.to_string(), words));
        }
    }
}

fn word(field: &str) -> &str {
    if field == "defaultRequest" { "default request" } else { field }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn object(spec: Value) -> Value {
        json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec})
    }

    #[test]
    fn quotas() {
        check(
            validate(&object(json!({"hard": {"pods": "5", "count/x.io": "1", "limits.cpu": "2"}}))),
            &[],
        );
        check(
            validate(&object(
                json!({"hard": {"dogs": "1", "pods": "1500m"}, "scopes": ["BestEffort", "NotBestEffort"]}),
            )),
            &[
                "spec.hard[dogs]: Invalid value: \"dogs\": must be a standard resource for quota",
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ],
        );
    }

    #[test]
    fn ranges() {
        check(
            validate_range(&object(
                json!({"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}]}),
            )),
            &[],
        );
        check(
            validate_range(&object(json!({"limits": [
                {"type": "Pod", "default": {"cpu": "1"}, "max": {"cpu": "1"}, "min": {"cpu": "2"}}, {"type": "Pod"}]}))),
            &[
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                "spec.limits[1].type: Duplicate value: \"Pod\"",
            ],
        );
    }
}
