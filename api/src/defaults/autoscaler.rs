//! HorizontalPodAutoscalers: by CPU, up fast and down slowly.

use serde_json::{Value, json};

use super::fill::{Members, fill_pointer, inside};

/// Share of the requested CPU, in percent, that is aimed at when nothing is said.
const CPU_UTILIZATION: i64 = 80;

/// Fills a HorizontalPodAutoscaler of `autoscaling/v2`.
pub fn set(autoscaler: &mut Value) {
    let Some(spec) = autoscaler.get_mut("spec").and_then(Value::as_object_mut) else { return };
    fill_pointer(spec, "minReplicas", 1);
    let none = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    if spec.get("metrics").is_none_or(none) {
        let target = json!({"type": "Utilization", "averageUtilization": CPU_UTILIZATION});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".to_owned(), json!([metric]));
    }
    let Some(behavior) = inside(spec, "behavior") else { return };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    set_rules(behavior, "scaleUp", json!([pods, percent.clone()]));
    set_rules(behavior, "scaleDown", json!([percent]));
    if let Some(up) = inside(behavior, "scaleUp") {
        fill_pointer(up, "stabilizationWindowSeconds", 0);
    }
}

fn set_rules(behavior: &mut Members, direction: &str, policies: Value) {
    let Some(rules) = super::fill::ensure(behavior, direction) else { return };
    fill_pointer(rules, "selectPolicy", "Max");
    fill_pointer(rules, "policies", policies);
}

/// Fills a HorizontalPodAutoscaler of `autoscaling/v1`; its CPU target is filled in the kept form,
/// which knows whether there are other metrics.
pub fn set_v1(autoscaler: &mut Value) {
    if let Some(spec) = autoscaler.get_mut("spec").and_then(Value::as_object_mut) {
        fill_pointer(spec, "minReplicas", 1);
    }
}
