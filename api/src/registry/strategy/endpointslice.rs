//! EndpointSlices count changes of what they say and of their labels.

use serde_json::Value;

use crate::meta;

use super::with_generation::count;

/// Counts a change of endpoints, ports, address type or labels.
pub fn update(new: &mut Value, old: &Value) {
    let said = |field: &str| new.get(field) != old.get(field);
    let labels = |object: &Value| meta::labels(object).cloned().unwrap_or_default();
    let changed = said("endpoints") || said("ports") || said("addressType");
    let changed = changed || labels(new) != labels(old);
    count(new, old, changed);
}
