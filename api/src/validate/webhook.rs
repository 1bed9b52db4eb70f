//! Rules for configurations of webhooks, but for their expressions.
//! *Source:* `pkg/apis/admissionregistration/validation`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Errors, complain, has, items, number, one_of, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Longest time in seconds that a webhook may have for its answer.
pub const TIMEOUT_SECONDS_MAX: i64 = 30;

/// Checks all webhooks of a configuration.
pub(super) fn check(errors: &mut Errors, object: &Value) {
    let path = Path::root("webhooks");
    let mut seen = BTreeSet::new();
    for (index, webhook) in items(object, "webhooks").iter().enumerate() {
        let path = path.index(index);
        let name = text(webhook, "name");
        check_name(errors, &path.child("name"), name);
        check_rules(errors, &path.child("rules"), items(webhook, "rules"));
        check_choices(errors, &path, webhook);
        check_client(errors, &path.child("clientConfig"), &webhook["clientConfig"]);
        check_versions(errors, &path, webhook);
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.child("name"), name));
        }
    }
}

fn check_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let complaints = names::dns1123_subdomain(name);
    let malformed = !complaints.is_empty();
    complain(errors, path, name, complaints);
    if !malformed && name.split('.').count() < 3 {
        let words = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(path, name, words));
    }
}

/// Checks what rules match; policies have the same.
pub(super) fn check_rules(errors: &mut Errors, path: &Path<'_>, rules: &[Value]) {
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        let operations = path.child("operations");
        if items(rule, "operations").is_empty() {
            errors.push(FieldError::required(operations, ""));
        }
        check_star(errors, &operations, items(rule, "operations"), "operations");
        for (index, operation) in items(rule, "operations").iter().enumerate() {
            let supported = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
            let operation = operation.as_str().unwrap_or_default();
            one_of(errors, operations.index(index), operation, &supported);
        }
        for (field, noun) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
            let list = items(rule, field);
            if list.is_empty() {
                errors.push(FieldError::required(path.child(field), ""));
            }
            check_star(errors, &path.child(field), list, noun);
        }
        check_resources(errors, &path.child("resources"), items(rule, "resources"));
        if has(rule, "scope") {
            let supported = ["*", "Cluster", "Namespaced"];
            one_of(errors, path.child("scope"), text(rule, "scope"), &supported);
        }
    }
}

fn check_star(errors: &mut Errors, path: &Path<'_>, list: &[Value], noun: &str) {
    if list.len() > 1 && list.iter().any(|item| item == "*") {
        let words = format!("if '*' is present, must not specify other {noun}");
        errors.push(FieldError::invalid(path, list, words));
    }
}

fn check_resources(errors: &mut Errors, path: &Path<'_>, list: &[Value]) {
    if list.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let (mut all_parts, mut all_of_part, mut plain) = (BTreeSet::new(), BTreeSet::new(), 0);
    for (index, item) in list.iter().filter_map(Value::as_str).enumerate() {
        let Some((resource, part)) = item.split_once('/') else {
            plain += 1;
            continue;
        };
        if all_parts.contains(resource) {
            let words = format!("if '{resource}/*' is present, must not specify {item}");
            errors.push(FieldError::invalid(path.index(index), item, words));
        }
        if all_of_part.contains(part) {
            let words = format!("if '*/{part}' is present, must not specify {item}");
            errors.push(FieldError::invalid(path.index(index), item, words));
        }
        if part == "*" {
            all_parts.insert(resource);
        }
        if resource == "*" {
            all_of_part.insert(part);
        }
    }
    if plain > 1 && list.iter().any(|item| item == "*") {
        let words = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, list, words));
    }
    if list.len() > 1 && list.iter().any(|item| item == "*/*") {
        let words = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, list, words));
    }
}

fn check_choices(errors: &mut Errors, path: &Path<'_>, webhook: &Value) {
    let choices: [(&str, &[&str]); 3] = [
        ("failurePolicy", &["Fail", "Ignore"]),
        ("matchPolicy", &["Equivalent", "Exact"]),
        ("sideEffects", &["None", "NoneOnDryRun"]),
    ];
    for (field, supported) in choices {
        if has(webhook, field) {
            one_of(errors, path.child(field), text(webhook, field), supported);
        } else if field == "sideEffects" {
            let words = format!("must specify one of {}", supported.join(", "));
            errors.push(FieldError::required(path.child(field), words));
        }
    }
    let seconds = number(webhook, "timeoutSeconds");
    if let Some(seconds) = seconds.filter(|s| !(1..=TIMEOUT_SECONDS_MAX).contains(s)) {
        let words = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(path.child("timeoutSeconds"), seconds, words));
    }
    if has(webhook, "reinvocationPolicy") {
        let policy = text(webhook, "reinvocationPolicy");
        one_of(errors, path.child("reinvocationPolicy"), policy, &["IfNeeded", "Never"]);
    }
}

fn check_client(errors: &mut Errors, path: &Path<'_>, client: &Value) {
    match (has(client, "url"), has(client, "service")) {
        (true, false) => check_url(errors, &path.child("url"), text(client, "url")),
        (false, true) => {
            let (path, service) = (path.child("service"), &client["service"]);
            for field in ["name", "namespace"] {
                if text(service, field).is_empty() {
                    let words = format!("service {field} is required");
                    errors.push(FieldError::required(path.child(field), words));
                }
            }
        }
        (true, true) | (false, false) => {
            errors.push(FieldError::required(path, "exactly one of url or service is required"));
        }
    }
}

/// A webhook is asked over TLS, at an address without secrets in it.
fn check_url(errors: &mut Errors, path: &Path<'_>, url: &str) {
    let mut complain = |value: &str, words: &str| {
        let words = format!("{words}; desired format: https://host[/path]");
        errors.push(FieldError::invalid(path, value, words));
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if scheme != "https" {
        complain(scheme, "'https' is the only allowed URL scheme");
    }
    if host.is_empty() {
        complain(url, "host must be specified");
    }
    if host.contains('@') {
        complain(url, "user information is not permitted in the URL");
    }
    if rest.contains('#') {
        complain(url, "fragments are not permitted in the URL");
    }
    if rest.contains('?') {
        complain(url, "query parameters are not permitted in the URL");
    }
}

fn check_versions(errors: &mut Errors, path: &Path<'_>, webhook: &Value) {
    let path = path.child("admissionReviewVersions");
    let versions = items(webhook, "admissionReviewVersions");
    if versions.is_empty() {
        let words = "must specify one of v1, v1beta1";
        errors.push(FieldError::required(path, words));
    } else if !versions.iter().any(|version| version == "v1" || version == "v1beta1") {
        let words = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(path, versions, words));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use serde_json::json;

    fn found(change: Value) -> Vec<String> {
        let mut webhook = json!({
            "name": "a.b.c", "clientConfig": {"url": "https://x/y"}, "sideEffects": "None",
            "failurePolicy": "Fail", "matchPolicy": "Exact", "timeoutSeconds": 10,
            "admissionReviewVersions": ["v1"],
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "*"}],
        });
        for (field, value) in change.as_object().unwrap() {
            webhook[field] = value.clone();
        }
        let mut errors = Vec::new();
        check(&mut errors, &json!({"webhooks": [webhook]}));
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_one_and_each_mistake() {
        assert!(found(json!({})).is_empty());
        let fields = |change: Value| -> Vec<String> {
            let lines = found(change);
            lines.iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect()
        };
        assert_eq!(fields(json!({"name": "a.b"})), ["webhooks[0].name"]);
        assert_eq!(fields(json!({"timeoutSeconds": 31})), ["webhooks[0].timeoutSeconds"]);
        assert_eq!(fields(json!({"sideEffects": null})), ["webhooks[0].sideEffects"]);
        assert_eq!(
            fields(json!({"clientConfig": {"url": "http://u@x?y#z"}})),
            vec!["webhooks[0].clientConfig.url"; 4]
        );
        assert_eq!(fields(json!({"clientConfig": {}})), ["webhooks[0].clientConfig"]);
        assert_eq!(
            fields(json!({"admissionReviewVersions": ["v2"]})),
            ["webhooks[0].admissionReviewVersions"]
        );
        let rule = json!([{"operations": ["*", "CREATE"], "apiGroups": [], "apiVersions": ["*"], "resources": ["pods", "pods/*", "pods/log", "*/*"], "scope": "All"}]);
        assert_eq!(
            fields(json!({"rules": rule})),
            [
                "webhooks[0].rules[0].operations",
                "webhooks[0].rules[0].apiGroups",
                "webhooks[0].rules[0].resources[2]",
                "webhooks[0].rules[0].resources",
                "webhooks[0].rules[0].scope",
            ]
        );
    }

    #[test]
    fn words_are_those_of_upstream() {
        let mut errors = Vec::new();
        check_name(&mut errors, &Path::root("name"), "nodots");
        testing::check(
            errors,
            &[
                "name: Invalid value: \"nodots\": should be a domain with at least three segments separated by dots",
            ],
        );
    }
}
