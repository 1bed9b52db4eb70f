//! Conditions: the list of observations in a status, one per type.

use serde_json::{Map, Value, json};

/// One observation to write into `status.conditions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition<'a> {
    /// What is observed, unique in the list.
    pub kind: &'a str,
    /// `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// CamelCase word, may be empty.
    pub reason: &'a str,
    /// For people, may be empty.
    pub message: &'a str,
}

/// Gives the condition of a type from `status.conditions`.
pub fn find<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"].as_str() == Some(kind))
}

/// Tells whether a condition is there and `True`.
pub fn is_true(object: &Value, kind: &str) -> bool {
    find(object, kind).is_some_and(|condition| condition["status"].as_str() == Some("True"))
}

/// Writes a condition into a list and says whether anything changed.
///
/// `lastTransitionTime` becomes `now` (RFC 3339, seconds) only when the status flips; other fields
/// of an existing condition stay.
pub fn upsert(conditions: &mut Vec<Value>, new: Condition<'_>, now: &str) -> bool {
    let found = conditions.iter_mut().find(|item| item["type"].as_str() == Some(new.kind));
    let Some(Value::Object(old)) = found else {
        let mut fresh = Map::new();
        fresh.insert("type".to_owned(), json!(new.kind));
        fresh.insert("lastTransitionTime".to_owned(), json!(now));
        write(&mut fresh, new);
        conditions.push(Value::Object(fresh));
        return true;
    };
    let before = old.clone();
    if old.get("status").and_then(Value::as_str) != Some(new.status) {
        old.insert("lastTransitionTime".to_owned(), json!(now));
    }
    write(old, new);
    *old != before
}

fn write(condition: &mut Map<String, Value>, new: Condition<'_>) {
    condition.insert("status".to_owned(), json!(new.status));
    for (field, text) in [("reason", new.reason), ("message", new.message)] {
        if text.is_empty() {
            condition.remove(field);
        } else {
            condition.insert(field.to_owned(), json!(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Condition<'static> =
        Condition { kind: "Ready", status: "True", reason: "", message: "" };

    #[test]
    fn transition_time_moves_only_when_the_status_flips() {
        let mut list = vec![];
        assert!(upsert(&mut list, READY, "t1"));
        assert!(!upsert(&mut list, READY, "t2"));
        assert!(upsert(&mut list, Condition { reason: "Fine", ..READY }, "t3"));
        assert_eq!(list[0]["lastTransitionTime"], "t1");
        assert!(upsert(&mut list, Condition { status: "False", ..READY }, "t4"));
        assert_eq!(list, [json!({"type": "Ready", "status": "False", "lastTransitionTime": "t4"})]);
        let object = json!({"status": {"conditions": list}});
        assert!(find(&object, "Ready").is_some());
        assert!(!is_true(&object, "Ready"));
    }
}
