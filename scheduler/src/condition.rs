//! The condition by which a pod shows that no node takes it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use serde_json::{Value, json};

/// Gives the strategic merge patch of the status, `None` when the pod says so already.
///
/// The patch names the uid, so that a pod of the same name that came meanwhile is left alone.
pub fn unschedulable_patch(pod: &Pod, message: &str, now: Timestamp) -> Option<Value> {
    let old = scheduled(pod);
    let says = |field: &Option<String>, text: &str| field.as_deref() == Some(text);
    let was_false = old.is_some_and(|old| old.status == "False");
    if let Some(old) = old
        && was_false
        && says(&old.reason, "Unschedulable")
        && says(&old.message, message)
    {
        return None;
    }
    let mut condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
    });
    if !was_false {
        let seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        condition["lastTransitionTime"] = json!(seconds);
    }
    Some(json!({
        "metadata": {"uid": pod.metadata.uid},
        "status": {"conditions": [condition]},
    }))
}

fn scheduled(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "PodScheduled")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(condition: Value) -> Pod {
        let conditions = if condition.is_null() { json!([]) } else { json!([condition]) };
        serde_json::from_value(json!({
            "metadata": {"name": "a", "uid": "u"}, "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    fn patch(condition: Value) -> Option<Value> {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        unschedulable_patch(&pod(condition), "why", now)
    }

    #[test]
    fn is_written_when_it_says_something_new() {
        let first = patch(Value::Null).unwrap();
        assert_eq!(first["metadata"]["uid"], "u");
        let condition = &first["status"]["conditions"][0];
        assert_eq!(condition["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(patch(condition.clone()), None);
        let mut other = condition.clone();
        other["message"] = json!("other");
        let second = patch(other).unwrap();
        assert_eq!(second["status"]["conditions"][0]["message"], "why");
        assert_eq!(second["status"]["conditions"][0].get("lastTransitionTime"), None);
    }
}
