//! The change to send for a new status: pure.
//!
//! A strategic merge patch, so that conditions of other writers stay; the uid makes a pod of the
//! same name but another life refuse it.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

use super::conditions::OWNED;

/// The fields of a status that this host writes, as they appear on the wire.
#[must_use]
pub fn owned(status: &PodStatus) -> Map<String, Value> {
    let Ok(Value::Object(mut map)) = serde_json::to_value(status) else { return Map::new() };
    for foreign in ["nominatedNodeName", "resize", "extendedResourceClaimStatus"] {
        map.remove(foreign);
    }
    if let Some(Value::Array(conditions)) = map.get_mut("conditions") {
        conditions.retain(|condition| {
            condition.get("type").and_then(Value::as_str).is_some_and(|kind| OWNED.contains(&kind))
        });
    }
    map
}

/// Gives the patch that turns what was `sent` last into `wanted`, of the object with this uid; nothing
/// when they are equal.
#[must_use]
pub fn patch(uid: &str, sent: &Map<String, Value>, wanted: &Map<String, Value>) -> Option<Value> {
    if sent == wanted {
        return None;
    }
    let mut status = Map::new();
    for (key, value) in wanted {
        if sent.get(key) != Some(value) {
            status.insert(key.clone(), value.clone());
        }
    }
    for key in sent.keys().filter(|key| !wanted.contains_key(*key)) {
        status.insert(key.clone(), Value::Null);
    }
    Some(json!({ "metadata": { "uid": uid }, "status": clear_old(status, sent) }))
}

/// Tells whether two statuses differ in `observedGeneration` alone: not worth a write of its own for
/// a pod that is about to go.
#[must_use]
pub fn only_generation(sent: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    const FIELD: &str = "observedGeneration";
    let bare = |map: &Map<String, Value>| {
        let mut map = map.clone();
        map.remove(FIELD);
        let conditions = map.get_mut("conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
            condition.remove(FIELD);
        }
        map
    };
    bare(sent) == bare(wanted)
}

/// A condition that loses its reason or message must say so: an element of a merged list keeps what
/// is not mentioned.
fn clear_old(mut status: Map<String, Value>, sent: &Map<String, Value>) -> Map<String, Value> {
    let before = sent.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(Value::Array(conditions)) = status.get_mut("conditions") {
        conditions.retain(|condition| !before.contains(condition));
        for condition in conditions {
            let kind = condition.get("type").cloned();
            let old = before.iter().find(|old| old.get("type").cloned() == kind);
            let (Some(Value::Object(old)), Value::Object(new)) = (old, condition) else { continue };
            for key in old.keys() {
                new.entry(key.clone()).or_insert(Value::Null);
            }
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn only_what_changed_is_sent_and_what_went_is_cleared() {
        let sent = map(json!({"phase": "Pending", "reason": "X", "conditions": [
            {"type": "Ready", "status": "False", "reason": "R", "message": "m"},
            {"type": "Initialized", "status": "True"}]}));
        let wanted = map(json!({"phase": "Pending", "podIP": "10.128.0.2", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]}));
        let expected = json!({"metadata": {"uid": "u"}, "status": {"podIP": "10.128.0.2", "reason": null,
            "conditions": [{"type": "Ready", "status": "True", "reason": null, "message": null}]}});
        assert_eq!(patch("u", &sent, &wanted), Some(expected));
        assert_eq!(patch("u", &wanted, &wanted), None);
    }
}
