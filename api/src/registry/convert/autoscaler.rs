//! HorizontalPodAutoscalers: `autoscaling/v1` as `autoscaling/v2` keeps them.
//!
//! What v1 cannot say travels in annotations, as JSON in the form of v2, so that nothing is lost on
//! the way there and back. *Source:* `pkg/apis/autoscaling/v1/conversion.go`, annotation names included.

use serde_json::{Map, Value, json};

use crate::registry::{Convert, Stored};

/// How `autoscaling/v1` is kept.
pub static V1: Stored = Stored {
    group: "autoscaling",
    version: "v2",
    to: Convert::With(to),
    from: Convert::With(from),
};

/// Annotation with the metrics beside CPU utilization.
pub const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";

/// Makes v2 of v1.
fn to(object: &mut Value) {
    let mut metrics = take_list(object, METRICS);
    let behavior = take_annotation(object, BEHAVIOR);
    let conditions = take_list(object, CONDITIONS);
    let mut current = take_list(object, CURRENT_METRICS);
    let Some(members) = object.as_object_mut() else { return };
    members.insert("apiVersion".to_owned(), json!("autoscaling/v2"));
    if let Some(spec) = members.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            metrics.insert(0, resource("target", &target));
        }
        put_list(spec, "metrics", metrics);
        if let Some(behavior) = behavior {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    if let Some(status) = members.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(percent) = status.remove("currentCPUUtilizationPercentage") {
            current.insert(0, resource("current", &json!({"averageUtilization": percent})));
        }
        put_list(status, "currentMetrics", current);
        put_list(status, "conditions", conditions);
    }
}

/// Makes v1 of v2.
fn from(object: &mut Value) {
    let Some(members) = object.as_object_mut() else { return };
    members.insert("apiVersion".to_owned(), json!("autoscaling/v1"));
    let (mut metrics, mut behavior) = (vec![], None);
    let (mut current, mut conditions) = (vec![], vec![]);
    if let Some(spec) = members.get_mut("spec").and_then(Value::as_object_mut) {
        metrics = list(spec.remove("metrics"));
        behavior = spec.remove("behavior");
        if let Some(percent) = take_utilization(&mut metrics, "target") {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), percent);
        }
    }
    if let Some(status) = members.get_mut("status").and_then(Value::as_object_mut) {
        current = list(status.remove("currentMetrics"));
        conditions = list(status.remove("conditions"));
        if let Some(percent) = take_utilization(&mut current, "current") {
            status.insert("currentCPUUtilizationPercentage".to_owned(), percent);
        }
    }
    let lists = [(METRICS, metrics), (CONDITIONS, conditions), (CURRENT_METRICS, current)];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        annotate(members, name, &Value::Array(list));
    }
    if let Some(behavior) = behavior {
        annotate(members, BEHAVIOR, &behavior);
    }
}

/// A metric of the CPU, `part` being what is wanted or what was seen.
fn resource(part: &str, target: &Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", part: target}})
}

/// Takes the first CPU utilization out of a list of metrics.
fn take_utilization(metrics: &mut Vec<Value>, part: &str) -> Option<Value> {
    let utilization = |metric: &Value| -> Option<Value> {
        let resource = metric.get("resource").filter(|_| metric["type"] == "Resource")?;
        let found = resource.get(part)?.get("averageUtilization")?;
        (resource["name"] == "cpu").then(|| found.clone())
    };
    let index = metrics.iter().position(|metric| utilization(metric).is_some())?;
    utilization(&metrics.remove(index))
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        Some(_) | None => Vec::new(),
    }
}

fn put_list(members: &mut Map<String, Value>, name: &str, items: Vec<Value>) {
    if !items.is_empty() {
        members.insert(name.to_owned(), Value::Array(items));
    }
}

fn annotate(members: &mut Map<String, Value>, name: &str, value: &Value) {
    let metadata = members.entry("metadata").or_insert_with(|| json!({}));
    if metadata["annotations"].is_null() {
        metadata["annotations"] = json!({});
    }
    metadata["annotations"][name] = json!(value.to_string());
}

fn take_list(object: &mut Value, name: &str) -> Vec<Value> {
    list(take_annotation(object, name))
}

/// Takes JSON out of an annotation; one that is none is dropped, as upstream does.
fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let text = annotations.remove(name)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(v2: Value, v1: Value) {
        let mut object = v2.clone();
        from(&mut object);
        assert_eq!(object, v1);
        to(&mut object);
        assert_eq!(object, v2);
    }

    #[test]
    fn one_number_stands_for_the_cpu() {
        let target = json!({"type": "Utilization", "averageUtilization": 70});
        check(
            json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "a"},
                "spec": {"maxReplicas": 3, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]},
                "status": {"currentReplicas": 1, "currentMetrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 10}}}]}}),
            json!({"apiVersion": "autoscaling/v1", "metadata": {"name": "a"},
                "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70},
                "status": {"currentReplicas": 1, "currentCPUUtilizationPercentage": 10}}),
        );
    }

    #[test]
    fn the_rest_travels_in_annotations() {
        let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
        let up = json!({"scaleUp": {"selectPolicy": "Max"}});
        check(
            json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "a"}, "spec": {"metrics": [memory], "behavior": up}}),
            json!({"apiVersion": "autoscaling/v1", "metadata": {"name": "a", "annotations": {
                METRICS: json!([memory]).to_string(), BEHAVIOR: up.to_string()}}, "spec": {}}),
        );
    }
}
