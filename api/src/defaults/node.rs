//! Nodes: everything a node has can be given to pods unless it says otherwise.

use serde_json::{Value, json};

/// Fills a Node.
pub fn set(node: &mut Value) {
    set_ranges(node);
    let Some(status) = node.get_mut("status").and_then(Value::as_object_mut) else { return };
    let empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
    if status.get("allocatable").is_none_or(empty)
        && let Some(capacity) = status.get("capacity").filter(|value| !empty(value)).cloned()
    {
        status.insert("allocatable".to_owned(), capacity);
    }
}

/// `podCIDR` is the first of `podCIDRs`, and wins where they differ.
fn set_ranges(node: &mut Value) {
    let Some(spec) = node.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let Some(range) = spec.get("podCIDR").and_then(Value::as_str).filter(|text| !text.is_empty())
    else {
        return;
    };
    let first = spec.get("podCIDRs").and_then(|all| all.get(0)).and_then(Value::as_str);
    if first != Some(range) {
        let ranges = json!([range]);
        spec.insert("podCIDRs".to_owned(), ranges);
    }
}
