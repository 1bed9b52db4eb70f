//! Rules for Jobs. *Source:* `ValidateJobSpec` in `pkg/apis/batch/validation`.

use serde_json::Value;

use super::{
    Errors, has, immutable, items, labels, metadata, non_negative, number, one_of, pod, text,
};
use crate::field_error::{FieldError, Path};
use crate::meta;
use crate::names;
use crate::selector::LabelSelector;

/// Most pods that an indexed Job runs at once. *Source:* `maxParallelismForIndexedJob`.
const INDEXED_PARALLELISM_MAX: i64 = 100_000;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new Job.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    let spec = &object["spec"];
    check_spec(&mut errors, &SPEC, spec);
    check_selector(&mut errors, object);
    if text(spec, "completionMode") == "Indexed" && number(spec, "completions").unwrap_or(0) > 0 {
        check_pod_names(&mut errors, object);
    }
    errors
}

/// Checks a changed Job: what its pods are made from stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    check_spec(&mut errors, &SPEC, spec);
    let elastic = text(spec, "completionMode") == "Indexed"
        && spec["completions"] == spec["parallelism"]
        && before["completions"] == before["parallelism"];
    if !elastic {
        immutable(
            &mut errors,
            SPEC.child("completions"),
            &spec["completions"],
            &before["completions"],
        );
    }
    immutable(&mut errors, SPEC.child("selector"), &spec["selector"], &before["selector"]);
    // A Job that has not begun may be placed elsewhere.
    let waiting = before["suspend"] == true && !has(&old["status"], "startTime");
    if waiting {
        check_waiting_template(&mut errors, &spec["template"], &before["template"]);
    } else {
        immutable(&mut errors, SPEC.child("template"), &spec["template"], &before["template"]);
    }
    for field in
        ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        immutable(&mut errors, SPEC.child(field), &spec[field], &before[field]);
    }
    errors
}

/// Where the pods of a waiting Job run may change, and what marks them.
fn check_waiting_template(errors: &mut Errors, new: &Value, old: &Value) {
    let mut allowed = new.clone();
    for (part, fields) in [
        ("spec", &["nodeSelector", "affinity", "tolerations", "schedulingGates"][..]),
        ("metadata", &["labels", "annotations"][..]),
    ] {
        for field in fields {
            let before = old[part].get(*field).cloned();
            let Some(members) = allowed[part].as_object_mut() else { continue };
            match before {
                Some(value) => members.insert((*field).to_owned(), value),
                None => members.remove(*field),
            };
        }
    }
    immutable(errors, SPEC.child("template"), &allowed, old);
}

/// Checks a changed status of a Job.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let path = Path::root("status");
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        non_negative(&mut errors, path.child(field), number(&new["status"], field));
    }
    errors
}

/// Checks the spec of a Job or of a CronJob's template.
pub(super) fn check_spec(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        non_negative(errors, path.child(field), number(spec, field));
    }
    check_mode(errors, path, spec);
    if has(spec, "podReplacementPolicy") {
        let policy = text(spec, "podReplacementPolicy");
        let supported = ["Failed", "TerminatingOrFailed"];
        one_of(errors, path.child("podReplacementPolicy"), policy, &supported);
    }
    check_policy(errors, &path.child("podFailurePolicy"), spec);
    let template = path.child("template");
    pod::check_template(errors, &template, &spec["template"]);
    let template_spec = template.child("spec");
    let policy = text(&spec["template"]["spec"], "restartPolicy");
    let restart = template_spec.child("restartPolicy");
    let supported = ["OnFailure", "Never"];
    if policy == "Always" || policy.is_empty() {
        let words = "valid values: \"OnFailure\", \"Never\"";
        errors.push(FieldError::required(restart, words));
    } else if !supported.contains(&policy) {
        errors.push(FieldError::not_supported(restart, policy, &supported));
    } else if has(spec, "podFailurePolicy") && policy != "Never" {
        let words = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.push(FieldError::invalid(restart, policy, words));
    }
}

fn check_mode(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let mode = text(spec, "completionMode");
    let place = path.child("completionMode");
    if has(spec, "completionMode") && !matches!(mode, "NonIndexed" | "Indexed") {
        errors.push(FieldError::not_supported(place, mode, &["NonIndexed", "Indexed"]));
    }
    if mode == "Indexed" {
        if !has(spec, "completions") {
            let words = "when completion mode is Indexed";
            errors.push(FieldError::required(path.child("completions"), words));
        }
        let parallelism = number(spec, "parallelism").unwrap_or_default();
        if parallelism > INDEXED_PARALLELISM_MAX {
            let words = format!(
                "must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed"
            );
            errors.push(FieldError::invalid(path.child("parallelism"), parallelism, words));
        }
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
            if has(spec, field) {
                let words = "requires indexed completion mode";
                errors.push(FieldError::invalid(path.child(field), &spec[field], words));
            }
        }
    }
    if has(spec, "maxFailedIndexes") && !has(spec, "backoffLimitPerIndex") {
        let words = "when maxFailedIndexes is specified";
        errors.push(FieldError::required(path.child("backoffLimitPerIndex"), words));
    }
}

fn check_policy(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let path = path.child("rules");
    for (index, rule) in items(&spec["podFailurePolicy"], "rules").iter().enumerate() {
        let path = path.index(index);
        let supported = ["Count", "FailIndex", "FailJob", "Ignore"];
        one_of(errors, path.child("action"), text(rule, "action"), &supported);
        let codes = has(rule, "onExitCodes");
        let conditions = !items(rule, "onPodConditions").is_empty();
        if codes == conditions {
            let words = if codes {
                "specifying both OnExitCodes and OnPodConditions is not supported"
            } else {
                "specifying one of OnExitCodes and OnPodConditions is required"
            };
            errors.push(FieldError::invalid(path, rule, words));
        }
        if codes {
            let operator = text(&rule["onExitCodes"], "operator");
            let place = path.child("onExitCodes");
            one_of(errors, place.child("operator"), operator, &["In", "NotIn"]);
            if items(&rule["onExitCodes"], "values").is_empty() {
                let words = "at least one value is required";
                errors.push(FieldError::invalid(
                    place.child("values"),
                    &rule["onExitCodes"]["values"],
                    words,
                ));
            }
        }
    }
}

fn check_selector(errors: &mut Errors, object: &Value) {
    let spec = &object["spec"];
    let path = SPEC.child("selector");
    if !has(spec, "selector") {
        errors.push(FieldError::required(path, ""));
        return;
    }
    labels::check_selector(errors, &path, &spec["selector"]);
    check_generated(errors, object);
    let Ok(selector) = LabelSelector::from_value(&spec["selector"]) else { return };
    let labels = &spec["template"]["metadata"]["labels"];
    if !selector.is_everything() && !selector.matches(&labels.as_object()) {
        let words = "`selector` does not match template `labels`";
        let path = SPEC.child("template");
        let path = path.child("metadata");
        errors.push(FieldError::invalid(path.child("labels"), labels, words));
    }
}

/// Unless its author sees to that, a Job selects its pods by its uid alone.
fn check_generated(errors: &mut Errors, object: &Value) {
    let (spec, uid) = (&object["spec"], meta::uid(object));
    if spec["manualSelector"] == true || uid.is_empty() {
        return;
    }
    let own = serde_json::json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    if spec["selector"] != own {
        let words = "`selector` not auto-generated";
        errors.push(FieldError::invalid(SPEC.child("selector"), &spec["selector"], words));
    }
}

/// The last pod's name has to be a host name.
fn check_pod_names(errors: &mut Errors, object: &Value) {
    let completions = number(&object["spec"], "completions").unwrap_or_default();
    let name = format!("{}-{}", meta::name(object), completions - 1);
    let complaints = names::dns1123_label(&name);
    if let Some(words) = complaints.first() {
        let words = format!("will not able to create pod with invalid DNS label: {name}: {words}");
        errors.push(FieldError::invalid("metadata.name", meta::name(object), words));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, workload};
    use super::*;
    use serde_json::json;

    fn job(change: Value) -> Value {
        let mut object = workload(change);
        object["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
        object
    }

    #[test]
    fn specs() {
        check(validate(&job(json!({"parallelism": 1, "completions": 1}))), &[]);
        check(
            validate(&job(json!({"parallelism": -1, "completionMode": "Indexed"}))),
            &[
                "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
                "spec.completions: Required value: when completion mode is Indexed",
            ],
        );
        check(
            validate(&workload(json!({}))),
            &[
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ],
        );
        check(
            validate(&job(json!({"selector": {"matchLabels": {"x": "y"}}}))),
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ],
        );
    }

    #[test]
    fn what_may_change() {
        let old = job(json!({"completions": 1}));
        check(validate_update(&job(json!({"completions": 1, "parallelism": 5})), &old), &[]);
        check(
            validate_update(&job(json!({"completions": 2})), &old),
            &["spec.completions: Invalid value: 2: field is immutable"],
        );
        let mut waiting = job(json!({"completions": 1, "suspend": true}));
        let mut placed = waiting.clone();
        placed["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
        check(validate_update(&placed, &waiting), &[]);
        waiting["spec"]["suspend"] = json!(false);
        assert_eq!(validate_update(&placed, &waiting).len(), 1);
    }
}
