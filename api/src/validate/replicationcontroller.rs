//! Rules for ReplicationControllers. *Source:* `ValidateReplicationControllerSpec`.

use serde_json::{Map, Value};

use super::{Errors, metadata, non_negative, number, pod, text, workload};
use crate::field_error::{FieldError, Path};
use crate::names;
use crate::selector::LabelSelector;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new ReplicationController.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed ReplicationController.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    errors
}

/// Checks a changed status of a ReplicationController.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    workload::check_status(&mut errors, &new["status"], &parts);
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    non_negative(errors, SPEC.child("minReadySeconds"), number(spec, "minReadySeconds"));
    let selector = &spec["selector"];
    if selector.as_object().is_none_or(Map::is_empty) {
        errors.push(FieldError::required(SPEC.child("selector"), ""));
    }
    non_negative(errors, SPEC.child("replicas"), number(spec, "replicas"));
    let path = SPEC.child("template");
    if spec["template"].is_null() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let chosen = LabelSelector::from_map(selector);
    if !chosen.is_everything() && !chosen.matches(&labels.as_object()) {
        let words = "`selector` does not match template `labels`";
        let path = path.child("metadata");
        errors.push(FieldError::invalid(path.child("labels"), labels, words));
    }
    pod::check_template(errors, &path, &spec["template"]);
    let policy = text(&spec["template"]["spec"], "restartPolicy");
    if policy != "Always" {
        let path = path.child("spec");
        errors.push(FieldError::not_supported(path.child("restartPolicy"), policy, &["Always"]));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, workload};
    use super::*;
    use serde_json::json;

    #[test]
    fn the_selector_is_a_map() {
        check(validate(&workload(json!({"selector": {"app": "web"}}))), &[]);
        check(
            validate(&workload(json!({"selector": {"app": "db"}}))),
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ],
        );
        check(validate(&workload(json!({"selector": {}}))), &["spec.selector: Required value"]);
    }
}
