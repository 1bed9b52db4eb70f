//! The condition by which a pod shows that no node takes it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use serde_json::{Value, json};

/// Gives the strategic merge patch of the status, `None` when the pod says so already. `nominated`
/// is the node that is being cleared for it, if one is.
///
/// The patch names the uid, so that a pod of the same name that came meanwhile is left alone.
pub fn unschedulable_patch(
    pod: &Pod,
    message: &str,
    nominated: Option<&str>,
    now: Timestamp,
) -> Option<Value> {
    let old = scheduled(pod);
    let says = |field: &Option<String>, text: &str| field.as_deref() == Some(text);
    let was_false = old.is_some_and(|old| old.status == "False");
    if let Some(old) = old
        && was_false
        && says(&old.reason, "Unschedulable")
        && says(&old.message, message)
        && nomination(pod) == nominated
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
        "status": {"conditions": [condition], "nominatedNodeName": nominated},
    }))
}

/// Gives the strategic merge patch by which a pod says that it had to make room.
/// *Source:* KEP-3329, condition `DisruptionTarget`.
pub fn disruption_patch(victim: &Pod, message: &str, now: Timestamp) -> Value {
    json!({
        "metadata": {"uid": victim.metadata.uid},
        "status": {"conditions": [{
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": message,
            "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }]},
    })
}

/// Gives the node that a pod's status says is being cleared for it.
pub fn nomination(pod: &Pod) -> Option<&str> {
    let name = pod.status.as_ref()?.nominated_node_name.as_deref();
    name.filter(|name| !name.is_empty())
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
        unschedulable_patch(&pod(condition), "why", None, now)
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
