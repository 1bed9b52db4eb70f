//! Rules for Deployments.

use serde_json::Value;

use super::{Errors, amount, has, immutable, metadata, non_negative, number, text, workload};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new Deployment.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed Deployment: its selector stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    let path = SPEC.child("selector");
    immutable(&mut errors, path, &new["spec"]["selector"], &old["spec"]["selector"]);
    errors
}

/// Checks a changed status of a Deployment.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let parts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
    workload::check_status(&mut errors, &new["status"], &parts);
    let (count, before) =
        (number(&new["status"], "collisionCount"), number(&old["status"], "collisionCount"));
    if before.is_some_and(|before| count.unwrap_or_default() < before) {
        let field = "status.collisionCount";
        let count = count.unwrap_or_default();
        errors.push(FieldError::invalid(field, count, "cannot be decremented"));
    }
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    non_negative(errors, SPEC.child("replicas"), number(spec, "replicas"));
    workload::check(errors, spec, "ReplicaSet");
    check_strategy(errors, spec);
    for field in ["minReadySeconds", "revisionHistoryLimit"] {
        non_negative(errors, SPEC.child(field), number(spec, field));
    }
    let path = SPEC.child("progressDeadlineSeconds");
    let deadline = number(spec, "progressDeadlineSeconds");
    non_negative(errors, path, deadline);
    let ready = number(spec, "minReadySeconds").unwrap_or_default();
    if let Some(deadline) = deadline.filter(|&deadline| deadline <= ready) {
        errors.push(FieldError::invalid(path, deadline, "must be greater than minReadySeconds"));
    }
}

fn check_strategy(errors: &mut Errors, spec: &Value) {
    let strategy = &spec["strategy"];
    let path = SPEC.child("strategy");
    let rolling = path.child("rollingUpdate");
    match text(strategy, "type") {
        "Recreate" => {
            if has(strategy, "rollingUpdate") {
                let words = "may not be specified when strategy `type` is 'Recreate'";
                errors.push(FieldError::forbidden(rolling, words));
            }
        }
        "RollingUpdate" => {
            if has(strategy, "rollingUpdate") {
                check_rolling(errors, &rolling, &strategy["rollingUpdate"]);
            } else {
                let words = "this should be defaulted and never be nil";
                errors.push(FieldError::required(rolling, words));
            }
        }
        _ => {
            let kinds = ["Recreate", "RollingUpdate"];
            errors.push(FieldError::not_supported(path, strategy, &kinds));
        }
    }
}

fn check_rolling(errors: &mut Errors, path: &Path<'_>, rolling: &Value) {
    let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
    amount::check(errors, &path.child("maxUnavailable"), unavailable);
    amount::check(errors, &path.child("maxSurge"), surge);
    if amount::read(unavailable) == Some(0) && amount::read(surge) == Some(0) {
        let words = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(path.child("maxUnavailable"), unavailable, words));
    }
    amount::check_percent(errors, &path.child("maxUnavailable"), unavailable);
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn deployment(change: Value) -> Value {
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "progressDeadlineSeconds": 600,
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 30,
                        "restartPolicy": "Always",
                        "dnsPolicy": "ClusterFirst",
                        "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
                    },
                },
            },
        });
        for (field, value) in change.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        object
    }

    #[test]
    fn the_selector_matches_the_template_and_stays() {
        let good = deployment(json!({}));
        check(validate(&good), &[]);
        let other = deployment(json!({"selector": {"matchLabels": {"app": "db"}}}));
        check(
            validate(&other),
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ],
        );
        check(
            validate_update(&other, &good),
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
                "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"db\"}}: field is immutable",
            ],
        );
        check(
            validate(&deployment(json!({"selector": {}}))),
            &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        );
        check(
            validate(&deployment(json!({"selector": null}))),
            &[
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ],
        );
    }

    #[test]
    fn strategies() {
        let strategy = |value: Value| deployment(json!({"strategy": value}));
        check(
            validate(&strategy(json!({"type": "Recreate", "rollingUpdate": {}}))),
            &[
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ],
        );
        check(
            validate(&strategy(
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            )),
            &[
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
            ],
        );
        check(
            validate(&strategy(
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": -1, "maxUnavailable": "x"}}),
            )),
            &[
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                "spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0",
            ],
        );
    }

    #[test]
    fn numbers() {
        check(
            validate(&deployment(json!({"replicas": -1, "minReadySeconds": 600}))),
            &[
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            ],
        );
    }
}
