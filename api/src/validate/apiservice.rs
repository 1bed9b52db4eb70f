//! Rules for APIServices: the name is version and group, and who answers is said in one way.
//!
//! *Source:* `pkg/apis/apiregistration/validation` of kube-aggregator.

use serde_json::Value;

use super::{Errors, complain, items, metadata, number, text};
use crate::field_error::{FieldError, Path};
use crate::names;
use crate::text::go_quote;

const SPEC: Path<'static> = Path::root("spec");

/// Highest `groupPriorityMinimum`.
const GROUP_PRIORITY_MAX: i64 = 20_000;

/// Highest `versionPriority`.
const VERSION_PRIORITY_MAX: i64 = 1_000;

/// Checks a new APIService.
pub fn validate(object: &Value) -> Errors {
    let mut errors = check_name(object);
    errors.extend(metadata::validate(object, false, names::path_segment));
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed APIService.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    errors.extend(check_name(new));
    check_spec(&mut errors, &new["spec"]);
    errors
}

/// Checks a changed status of an APIService.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let path = Path::root("status");
    let path = path.child("conditions");
    for (index, condition) in items(&new["status"], "conditions").iter().enumerate() {
        let (status, known) = (text(condition, "status"), ["True", "False", "Unknown"]);
        if !known.contains(&status) {
            let path = path.index(index);
            errors.push(FieldError::not_supported(path.child("status"), status, &known));
        }
    }
    errors
}

fn check_name(object: &Value) -> Errors {
    let (name, spec) = (text(&object["metadata"], "name"), &object["spec"]);
    let required = format!("{}.{}", text(spec, "version"), text(spec, "group"));
    if name == required || name.is_empty() || !names::path_segment(name).is_empty() {
        return Vec::new();
    }
    let words = format!("must be `spec.version+\".\"+spec.group`: {}", go_quote(&required));
    vec![FieldError::invalid("metadata.name", name, words)]
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    let (group, version) = (text(spec, "group"), text(spec, "version"));
    if group.is_empty() && version != "v1" {
        let words = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required(SPEC.child("group"), words));
    }
    if !group.is_empty() {
        complain(errors, SPEC.child("group"), group, names::dns1123_subdomain(group));
    }
    complain(errors, SPEC.child("version"), version, names::dns1035_label(version));
    for (field, max) in
        [("groupPriorityMinimum", GROUP_PRIORITY_MAX), ("versionPriority", VERSION_PRIORITY_MAX)]
    {
        let priority = number(spec, field).unwrap_or_default();
        if !(1..=max).contains(&priority) {
            let words = format!("must be positive and less than {max}");
            errors.push(FieldError::invalid(SPEC.child(field), priority, words));
        }
    }
    let service = &spec["service"];
    if service.is_null() { check_local(errors, spec) } else { check_service(errors, spec, service) }
}

fn authority(spec: &Value) -> &str {
    text(spec, "caBundle")
}

fn skips_tls(spec: &Value) -> bool {
    spec["insecureSkipTLSVerify"] == true
}

/// Checks one that this server answers itself.
fn check_local(errors: &mut Errors, spec: &Value) {
    let authority = authority(spec);
    if !authority.is_empty() {
        // Base64: three bytes in four characters, the last of which may be padding.
        let padding = authority.bytes().rev().take_while(|byte| *byte == b'=').count();
        let shown = format!("{} bytes", (authority.len() / 4 * 3).saturating_sub(padding));
        let words = "local APIServices may not have a caBundle";
        errors.push(FieldError::invalid(SPEC.child("caBundle"), shown, words));
    }
    if skips_tls(spec) {
        let words = "local APIServices may not have insecureSkipTLSVerify";
        errors.push(FieldError::invalid(SPEC.child("insecureSkipTLSVerify"), true, words));
    }
}

/// Checks one that a Service answers.
fn check_service(errors: &mut Errors, spec: &Value, service: &Value) {
    let path = SPEC.child("service");
    for field in ["namespace", "name"] {
        if text(service, field).is_empty() {
            errors.push(FieldError::required(path.child(field), ""));
        }
    }
    let port = number(service, "port").unwrap_or_default();
    let wrong = names::port_number(port);
    if !wrong.is_empty() {
        let words = format!("port is not valid: {}", wrong.join(", "));
        errors.push(FieldError::invalid(path.child("port"), port, words));
    }
    if skips_tls(spec) && !authority(spec).is_empty() {
        let words = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(SPEC.child("insecureSkipTLSVerify"), true, words));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn service(name: &str, change: Value) -> Value {
        let mut object = json!({"metadata": {"name": name}, "spec": {"group": "example.com", "version": "v1",
            "groupPriorityMinimum": 100, "versionPriority": 10, "service": {"namespace": "a", "name": "b", "port": 443}}});
        object["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        object
    }

    #[test]
    fn the_name_is_version_and_group() {
        check(validate(&service("v1.example.com", json!({}))), &[]);
        check(
            validate(&service("nn", json!({}))),
            &[
                "metadata.name: Invalid value: \"nn\": must be `spec.version+\".\"+spec.group`: \"v1.example.com\"",
            ],
        );
        check(validate(&service("v1.", json!({"group": ""}))), &[]);
        check(
            validate(&service("v2.", json!({"group": "", "version": "v2"}))),
            &[
                "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
            ],
        );
    }

    #[test]
    fn priorities_and_services() {
        let name = "v1.example.com";
        let wrong = json!({"groupPriorityMinimum": 0, "versionPriority": 1001,
            "service": {"namespace": "", "name": "b", "port": 0}, "caBundle": "YQ==", "insecureSkipTLSVerify": true});
        check(
            validate(&service(name, wrong)),
            &[
                "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
                "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
                "spec.service.namespace: Required value",
                "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
            ],
        );
        let local = json!({"service": null, "caBundle": "YQ==", "insecureSkipTLSVerify": true});
        check(
            validate(&service(name, local)),
            &[
                "spec.caBundle: Invalid value: \"1 bytes\": local APIServices may not have a caBundle",
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ],
        );
    }

    #[test]
    fn a_status_is_one_of_three() {
        let old = service("v1.example.com", json!({}));
        let mut new = old.clone();
        new["status"] = json!({"conditions": [{"type": "Available", "status": "Perhaps"}]});
        check(
            validate_status_update(&new, &old),
            &[
                "status.conditions[0].status: Unsupported value: \"Perhaps\": supported values: \"True\", \"False\", \"Unknown\"",
            ],
        );
        new["spec"]["version"] = json!("v2");
        check(
            validate_update(&new, &old),
            &[
                "metadata.name: Invalid value: \"v1.example.com\": must be `spec.version+\".\"+spec.group`: \"v2.example.com\"",
            ],
        );
    }
}
