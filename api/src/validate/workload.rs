//! What Deployments and ReplicaSets have in common: a selector that matches the template.

use serde_json::Value;

use super::{Errors, has, items, labels, number, pod, text};
use crate::field_error::{FieldError, Path};
use crate::selector::LabelSelector;

/// Checks selector and template of `spec`; `what` is the kind as the messages call it.
pub(super) fn check(errors: &mut Errors, spec: &Value, what: &str) {
    check_as(errors, spec, what, "deployment");
}

/// As [`check`]; `noun` is what the message about an empty selector calls the kind.
pub(super) fn check_as(errors: &mut Errors, spec: &Value, what: &str, noun: &str) {
    let path = Path::root("spec");
    check_selector(errors, &path, spec, noun);
    let selector = LabelSelector::from_value(&spec["selector"]);
    match &selector {
        Ok(selector) => check_template_labels(errors, &path, spec, selector),
        Err(_) => {
            let words = "invalid label selector";
            errors.push(FieldError::invalid(path.child("selector"), &spec["selector"], words));
        }
    }
    let template = path.child("template");
    pod::check_template(errors, &template, &spec["template"]);
    check_restart_policy(errors, &template, &spec["template"]["spec"], what);
}

fn check_selector(errors: &mut Errors, path: &Path<'_>, spec: &Value, noun: &str) {
    let selector = &spec["selector"];
    let path = path.child("selector");
    if !has(spec, "selector") {
        errors.push(FieldError::required(path, ""));
        return;
    }
    labels::check_selector(errors, &path, selector);
    let labels = selector["matchLabels"].as_object().map_or(0, serde_json::Map::len);
    if labels + items(selector, "matchExpressions").len() == 0 {
        let words = format!("empty selector is invalid for {noun}");
        errors.push(FieldError::invalid(path, selector, words));
    }
}

fn check_template_labels(
    errors: &mut Errors,
    path: &Path<'_>,
    spec: &Value,
    selector: &LabelSelector,
) {
    let labels = &spec["template"]["metadata"]["labels"];
    if selector.is_everything() || selector.matches(&labels.as_object()) {
        return;
    }
    let path = path.child("template");
    let path = path.child("metadata");
    let words = "`selector` does not match template `labels`";
    errors.push(FieldError::invalid(path.child("labels"), labels, words));
}

fn check_restart_policy(errors: &mut Errors, path: &Path<'_>, spec: &Value, what: &str) {
    let path = path.child("spec");
    let policy = text(spec, "restartPolicy");
    if policy != "Always" {
        let path = path.child("restartPolicy");
        errors.push(FieldError::not_supported(path, policy, &["Always"]));
    }
    if number(spec, "activeDeadlineSeconds").is_some() {
        let words = format!("activeDeadlineSeconds in {what} is not Supported");
        errors.push(FieldError::forbidden(path.child("activeDeadlineSeconds"), words));
    }
}

/// Refuses counts in a status that are negative or contradict each other.
pub(super) fn check_status(errors: &mut Errors, status: &Value, parts: &[&str]) {
    let path = Path::root("status");
    let count = |field: &str| number(status, field).unwrap_or_default();
    for field in parts.iter().chain(&["replicas", "observedGeneration", "collisionCount"]) {
        super::non_negative(errors, path.child(field), number(status, field));
    }
    for field in parts {
        if count(field) > count("replicas") {
            let words = "cannot be greater than status.replicas";
            errors.push(FieldError::invalid(path.child(field), count(field), words));
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let words = "cannot be greater than readyReplicas";
        let field = path.child("availableReplicas");
        errors.push(FieldError::invalid(field, count("availableReplicas"), words));
    }
}
