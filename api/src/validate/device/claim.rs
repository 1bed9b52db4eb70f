//! Rules for ResourceClaims and their templates. *Source:* `ValidateResourceClaim`, `ValidateResourceClaimTemplate`.

use serde_json::Value;

use super::super::{Errors, complain, has, immutable, items, labels, metadata, number, text};
use super::{
    ALTERNATIVES_MAX, Age, CONFIGURATIONS_MAX, CONSTRAINTS_MAX, REQUESTS_MAX, check_configuration,
    check_label, check_qualified, check_selectors, each, named, once, own, status,
};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new ResourceClaim.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check(&mut errors, &SPEC, &object["spec"]);
    errors
}

/// Checks a changed ResourceClaim: what it asks for stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    immutable(&mut errors, SPEC, &new["spec"], &old["spec"]);
    errors
}

/// Checks a changed status of a ResourceClaim.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    status::check(&mut errors, new, &old["status"]);
    errors
}

/// Checks a new ResourceClaimTemplate.
pub fn validate_template(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    let of_claim = &object["spec"]["metadata"];
    let path = SPEC.child("metadata");
    metadata::check_annotations(&mut errors, &path.child("annotations"), &of_claim["annotations"]);
    labels::check(&mut errors, &path.child("labels"), &of_claim["labels"]);
    check(&mut errors, &SPEC.child("spec"), &object["spec"]["spec"]);
    errors
}

/// Checks a changed ResourceClaimTemplate: its spec stays.
pub fn validate_template_update(new: &Value, old: &Value) -> Errors {
    validate_update(new, old)
}

fn check(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let devices = &spec["devices"];
    let path = path.child("devices");
    let requests = items(devices, "requests");
    let requests_path = path.child("requests");
    each(errors, &requests_path, requests, REQUESTS_MAX, check_request);
    if requests.len() <= REQUESTS_MAX {
        once(errors, &requests_path, requests, named);
    }
    let constraints = items(devices, "constraints");
    let constraints_path = path.child("constraints");
    each(errors, &constraints_path, constraints, CONSTRAINTS_MAX, |errors, path, constraint| {
        check_references(errors, &path.child("requests"), constraint, devices);
        check_constraint(errors, path, constraint);
    });
    let configurations = items(devices, "config");
    let path = path.child("config");
    each(errors, &path, configurations, CONFIGURATIONS_MAX, |errors, path, configuration| {
        check_references(errors, &path.child("requests"), configuration, devices);
        check_configuration(errors, path, configuration, Age::New);
    });
}

fn check_request(errors: &mut Errors, path: &Path<'_>, request: &Value) {
    check_label(errors, &path.child("name"), named(request));
    let alternatives = items(request, "firstAvailable");
    let words = "exactly one of `exactly` or `firstAvailable` is required";
    match (has(request, "exactly"), alternatives.is_empty()) {
        (false, true) => errors.push(FieldError::required(path, words)),
        (true, false) => {
            let words = format!("{words}, but multiple fields are set");
            errors.push(FieldError::invalid(path, Value::Null, words));
        }
        (true, true) => check_wanted(errors, &path.child("exactly"), &request["exactly"]),
        (false, false) => {
            let path = path.child("firstAvailable");
            each(errors, &path, alternatives, ALTERNATIVES_MAX, |errors, path, alternative| {
                check_label(errors, &path.child("name"), named(alternative));
                check_wanted(errors, path, alternative);
            });
            if alternatives.len() <= ALTERNATIVES_MAX {
                once(errors, &path, alternatives, named);
            }
        }
    }
}

fn check_wanted(errors: &mut Errors, path: &Path<'_>, wanted: &Value) {
    let class = text(wanted, "deviceClassName");
    let class_path = path.child("deviceClassName");
    if class.is_empty() {
        errors.push(FieldError::required(class_path, ""));
    } else {
        complain(errors, class_path, class, names::dns1123_subdomain(class));
    }
    check_selectors(errors, &path.child("selectors"), items(wanted, "selectors"), Age::New);
    let count = number(wanted, "count").unwrap_or_default();
    match text(wanted, "allocationMode") {
        "All" if count != 0 => {
            let words = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(path.child("count"), count, words));
        }
        "ExactCount" if count <= 0 => {
            errors.push(FieldError::invalid(
                path.child("count"),
                count,
                "must be greater than zero",
            ));
        }
        "All" | "ExactCount" => {}
        other => {
            let known = ["All", "ExactCount"];
            errors.push(FieldError::not_supported(path.child("allocationMode"), other, &known));
        }
    }
}

fn check_constraint(errors: &mut Errors, path: &Path<'_>, constraint: &Value) {
    for field in ["matchAttribute", "distinctAttribute"] {
        if has(constraint, field) {
            let (path, name) = (path.child(field), text(constraint, field));
            check_qualified(errors, &path, name);
            if !name.contains('/') {
                let words =
                    "a fully qualified name must be a domain and a name separated by a slash";
                errors.push(FieldError::invalid(path, name, words));
            }
            return;
        }
    }
    errors.push(FieldError::required(path.child("matchAttribute"), ""));
}

/// Checks the names of requests for which a constraint or a configuration is.
pub(super) fn check_references(errors: &mut Errors, path: &Path<'_>, of: &Value, devices: &Value) {
    let names = items(of, "requests");
    each(errors, path, names, REQUESTS_MAX, |errors, path, name| {
        check_reference(errors, path, own(name), devices);
    });
    if names.len() <= REQUESTS_MAX {
        once(errors, path, names, own);
    }
}

/// Checks that a name is that of a request of a claim, or of one of its alternatives.
pub(super) fn check_reference(errors: &mut Errors, path: &Path<'_>, name: &str, devices: &Value) {
    let words = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2 {
        return errors.push(FieldError::invalid(path, name, words));
    }
    for part in &parts {
        check_label(errors, path, part);
    }
    let requests = items(devices, "requests");
    let request = requests.iter().find(|request| Some(&named(request)) == parts.first());
    let is_there = request.is_some_and(|request| {
        let alternatives = items(request, "firstAvailable");
        parts.get(1).is_none_or(|part| alternatives.iter().any(|one| named(one) == *part))
    });
    if !is_there {
        errors.push(FieldError::invalid(path, name, words));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;
    use serde_json::json;

    fn claim(devices: Value) -> Value {
        let mut object =
            json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"devices": devices}});
        crate::defaults::resourceclaim::set(&mut object);
        object
    }

    fn check(devices: Value, expected: &[&str]) {
        testing::check(validate(&claim(devices)), expected);
    }

    #[test]
    fn requests() {
        check(json!({}), &[]);
        let gpu = json!({"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}});
        check(json!({"requests": [gpu]}), &[]);
        check(
            json!({"requests": [gpu, gpu, {"name": "none"}]}),
            &[
                "spec.devices.requests[2]: Required value: exactly one of `exactly` or `firstAvailable` is required",
                "spec.devices.requests[1]: Duplicate value: \"gpu\"",
            ],
        );
        check(
            json!({"requests": [{"name": "g", "exactly": {"deviceClassName": "", "allocationMode": "All", "count": 2}},
                {"name": "h", "exactly": {"deviceClassName": "c", "count": -1}},
                {"name": "i", "exactly": {"deviceClassName": "c", "allocationMode": "Some"}}]}),
            &[
                "spec.devices.requests[0].exactly.deviceClassName: Required value",
                "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
                "spec.devices.requests[1].exactly.count: Invalid value: -1: must be greater than zero",
                "spec.devices.requests[2].exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\"",
            ],
        );
    }

    #[test]
    fn constraints_and_configurations_are_for_requests() {
        let requests =
            json!([{"name": "gpu", "firstAvailable": [{"name": "big", "deviceClassName": "c"}]}]);
        let opaque = json!({"driver": "d", "parameters": {}});
        check(
            json!({"requests": requests, "constraints": [{"requests": ["gpu", "gpu/big"], "matchAttribute": "example.com/numa"}],
                "config": [{"requests": ["gpu/big"], "opaque": opaque}]}),
            &[],
        );
        let words = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        check(
            json!({"requests": requests, "constraints": [{"requests": ["gpu/small"], "matchAttribute": "numa"}, {}],
                "config": [{"requests": ["gpu", "gpu"], "opaque": opaque}]}),
            &[
                &format!(
                    "spec.devices.constraints[0].requests[0]: Invalid value: \"gpu/small\": {words}"
                ),
                "spec.devices.constraints[0].matchAttribute: Invalid value: \"numa\": a fully qualified name must be a domain and a name separated by a slash",
                "spec.devices.constraints[1].matchAttribute: Required value",
                "spec.devices.config[0].requests[1]: Duplicate value: \"gpu\"",
            ],
        );
    }

    #[test]
    fn what_is_asked_for_stays() {
        let old = claim(json!({"requests": [{"name": "g", "exactly": {"deviceClassName": "c"}}]}));
        testing::check(validate_update(&old, &old), &[]);
        let found = validate_update(&claim(json!({})), &old);
        assert!(found.len() == 1 && found[0].message.ends_with("field is immutable"), "{found:?}");
        let template = |spec: Value| json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"metadata": {"labels": {"a b": "c"}}, "spec": spec}});
        let found = validate_template(&template(json!({"devices": {"requests": [{"name": "g"}]}})));
        let fields: Vec<&str> = found.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["spec.metadata.labels", "spec.spec.devices.requests[0]"]);
    }
}
