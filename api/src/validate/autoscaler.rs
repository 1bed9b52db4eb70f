//! Rules for HorizontalPodAutoscalers. *Source:* `pkg/apis/autoscaling/validation`.

use serde_json::Value;

use super::resources::quantity;
use super::{Errors, complain, has, items, metadata, number, one_of, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Longest time over which a scaling policy counts, in seconds.
const PERIOD_SECONDS_MAX: i64 = 1800;
/// Longest time over which recommendations are looked back at, in seconds.
const STABILIZATION_SECONDS_MAX: i64 = 3600;

/// Checks a new HorizontalPodAutoscaler.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed HorizontalPodAutoscaler.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    let (least, most) = (number(spec, "minReplicas"), number(spec, "maxReplicas").unwrap_or(0));
    let outside = |metric: &Value| matches!(text(metric, "type"), "Object" | "External");
    let floor = i64::from(!items(spec, "metrics").iter().any(outside));
    if let Some(least) = least.filter(|&least| least < floor) {
        let words = format!("must be greater than or equal to {floor}");
        errors.push(FieldError::invalid(SPEC.child("minReplicas"), least, words));
    }
    if most < 1 {
        let words = "must be greater than 0";
        errors.push(FieldError::invalid(SPEC.child("maxReplicas"), most, words));
    }
    if least.is_some_and(|least| most < least) {
        let words = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(SPEC.child("maxReplicas"), most, words));
    }
    check_reference(errors, &SPEC.child("scaleTargetRef"), &spec["scaleTargetRef"]);
    let path = SPEC.child("metrics");
    for (index, metric) in items(spec, "metrics").iter().enumerate() {
        check_metric(errors, &path.index(index), metric);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let path = SPEC.child("behavior");
        let rules = &spec["behavior"][direction];
        if has(&spec["behavior"], direction) {
            check_rules(errors, &path.child(direction), rules);
        }
    }
}

fn check_reference(errors: &mut Errors, path: &Path<'_>, reference: &Value) {
    for field in ["kind", "name"] {
        let value = text(reference, field);
        if value.is_empty() {
            errors.push(FieldError::required(path.child(field), ""));
        } else {
            complain(errors, path.child(field), value, names::path_segment(value));
        }
    }
}

fn check_metric(errors: &mut Errors, path: &Path<'_>, metric: &Value) {
    let kinds = ["ContainerResource", "External", "Object", "Pods", "Resource"];
    let kind = text(metric, "type");
    one_of(errors, path.child("type"), kind, &kinds);
    let field = match kind {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return,
    };
    let source = &metric[field];
    let path = path.child(field);
    if source.is_null() {
        let words = "must populate information for the given metric source";
        errors.push(FieldError::required(path, words));
        return;
    }
    if matches!(kind, "Resource" | "ContainerResource") {
        if text(source, "name").is_empty() {
            let words = "must specify a resource name";
            errors.push(FieldError::required(path.child("name"), words));
        }
        if kind == "ContainerResource" && text(source, "container").is_empty() {
            let words = "must specify a container";
            errors.push(FieldError::required(path.child("container"), words));
        }
    } else if text(&source["metric"], "name").is_empty() {
        let path = path.child("metric");
        errors.push(FieldError::required(path.child("name"), "must specify a metric name"));
    }
    if kind == "Object" {
        check_reference(errors, &path.child("describedObject"), &source["describedObject"]);
    }
    check_target(errors, &path.child("target"), kind, &source["target"]);
}

fn check_target(errors: &mut Errors, path: &Path<'_>, kind: &str, target: &Value) {
    let wanted = text(target, "type");
    let kinds = ["AverageValue", "Utilization", "Value"];
    if wanted.is_empty() {
        errors.push(FieldError::required(path.child("type"), "must specify a metric target type"));
    } else if !kinds.contains(&wanted) {
        let words = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(path.child("type"), wanted, words));
    }
    for field in ["value", "averageValue"] {
        let positive = quantity(&target[field])
            .is_none_or(|amount| !amount.is_negative() && amount.milli_value() != 0);
        if has(target, field) && !positive {
            errors.push(FieldError::invalid(path.child(field), &target[field], "must be positive"));
        }
    }
    if let Some(percent) = number(target, "averageUtilization").filter(|&percent| percent < 1) {
        let words = "must be greater than 0";
        errors.push(FieldError::invalid(path.child("averageUtilization"), percent, words));
    }
    let given = |field: &str| has(target, field);
    match kind {
        "Resource" | "ContainerResource" => {
            if !given("averageUtilization") && !given("averageValue") {
                let words = "must set either a target raw value or a target utilization";
                errors.push(FieldError::required(path.child("averageUtilization"), words));
            } else if given("averageUtilization") && given("averageValue") {
                let words = "may not set both a target raw value and a target utilization";
                errors.push(FieldError::forbidden(path.child("averageValue"), words));
            }
        }
        "Pods" if !given("averageValue") => {
            let words = "must specify a positive target averageValue";
            errors.push(FieldError::required(path.child("averageValue"), words));
        }
        "Object" | "External" if !given("value") && !given("averageValue") => {
            let words = "must set either a target value for metric or a per-pod target";
            errors.push(FieldError::required(path.child("averageValue"), words));
        }
        _ => {}
    }
}

fn check_rules(errors: &mut Errors, path: &Path<'_>, rules: &Value) {
    if let Some(window) = number(rules, "stabilizationWindowSeconds") {
        let place = path.child("stabilizationWindowSeconds");
        if window < 0 {
            let words = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(place, window, words));
        } else if window > STABILIZATION_SECONDS_MAX {
            let words = format!("must be less than or equal to {STABILIZATION_SECONDS_MAX}");
            errors.push(FieldError::invalid(place, window, words));
        }
    }
    if has(rules, "selectPolicy") {
        let policies = ["Disabled", "Max", "Min"];
        one_of(errors, path.child("selectPolicy"), text(rules, "selectPolicy"), &policies);
    }
    let path = path.child("policies");
    if items(rules, "policies").is_empty() {
        errors.push(FieldError::required(path, "must specify at least one Policy"));
    }
    for (index, policy) in items(rules, "policies").iter().enumerate() {
        let path = path.index(index);
        one_of(errors, path.child("type"), text(policy, "type"), &["Percent", "Pods"]);
        let (value, period) = (number(policy, "value"), number(policy, "periodSeconds"));
        if let Some(value) = value.filter(|&value| value <= 0) {
            errors.push(FieldError::invalid(
                path.child("value"),
                value,
                "must be greater than zero",
            ));
        }
        let period = period.unwrap_or_default();
        let place = path.child("periodSeconds");
        if period <= 0 {
            errors.push(FieldError::invalid(place, period, "must be greater than zero"));
        } else if period > PERIOD_SECONDS_MAX {
            let words = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
            errors.push(FieldError::invalid(place, period, words));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn autoscaler(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a", "namespace": "b"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 3}});
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        object
    }

    #[test]
    fn bounds_and_references() {
        check(validate(&autoscaler(json!({}))), &[]);
        check(
            validate(&autoscaler(
                json!({"minReplicas": 5, "scaleTargetRef": {"kind": "Deployment"}}),
            )),
            &[
                "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
                "spec.scaleTargetRef.name: Required value",
            ],
        );
        check(
            validate(&autoscaler(json!({"minReplicas": 0}))),
            &["spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"],
        );
    }

    #[test]
    fn metrics() {
        let metric = |target: Value| {
            autoscaler(
                json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}),
            )
        };
        check(validate(&metric(json!({"type": "Utilization", "averageUtilization": 50}))), &[]);
        check(
            validate(&metric(json!({"type": "Utilization"}))),
            &[
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
            ],
        );
        check(
            validate(&autoscaler(json!({"metrics": [{"type": "x"}]}))),
            &[
                "spec.metrics[0].type: Unsupported value: \"x\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
            ],
        );
    }
}
