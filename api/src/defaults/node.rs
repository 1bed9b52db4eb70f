//! Nodes: everything a node has can be given to pods unless it says otherwise.

use serde_json::Value;

/// Fills a Node.
pub fn set(node: &mut Value) {
    let Some(status) = node.get_mut("status").and_then(Value::as_object_mut) else { return };
    let empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
    if status.get("allocatable").is_none_or(empty)
        && let Some(capacity) = status.get("capacity").filter(|value| !empty(value)).cloned()
    {
        status.insert("allocatable".to_owned(), capacity);
    }
}
