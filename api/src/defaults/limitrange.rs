//! LimitRanges: what a container gets follows from what it may have.

use serde_json::{Map, Value};

use super::fill::{Members, ensure, items, text};

/// Fills a LimitRange.
pub fn set(range: &mut Value) {
    let Some(spec) = range.get_mut("spec").and_then(Value::as_object_mut) else { return };
    items(spec, "limits").filter(|limit| text(limit, "type") == "Container").for_each(set_limit);
}

fn set_limit(limit: &mut Members) {
    copy_absent(limit, "max", "default");
    copy_absent(limit, "default", "defaultRequest");
    copy_absent(limit, "min", "defaultRequest");
    for field in ["default", "defaultRequest"] {
        if limit.get(field).and_then(Value::as_object).is_some_and(Map::is_empty) {
            limit.remove(field);
        }
    }
}

/// Gives `target` the amounts of `source` that it does not name itself.
fn copy_absent(limit: &mut Members, source: &str, target: &str) {
    let amounts = limit.get(source).and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(target) = ensure(limit, target) else { return };
    for (name, amount) in amounts {
        target.entry(name).or_insert(amount);
    }
}
