//! What `up` sends to change an object that is there: a three-way JSON merge patch.
//!
//! *Source:* RFC 7386, and the annotation that `kubectl apply` keeps the last manifest in, so that
//! kubectl and `up` can take turns on the same object.

use serde_json::{Map, Value};

/// Where the manifest that was applied last is kept.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The merge patch that brings `live` to `wanted`, and takes out what `last` had and `wanted` has
/// not; `None` if nothing is to be changed. Fields that neither knows are left alone; lists are
/// replaced as a whole.
pub(crate) fn three_way(last: Option<&Value>, wanted: &Value, live: &Value) -> Option<Value> {
    let patch = object_patch(last, wanted, live);
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn object_patch(last: Option<&Value>, wanted: &Value, live: &Value) -> Map<String, Value> {
    let empty = Map::new();
    let wanted = wanted.as_object().unwrap_or(&empty);
    let live = live.as_object().unwrap_or(&empty);
    let last = last.and_then(Value::as_object).unwrap_or(&empty);
    let mut patch = Map::new();
    for (name, value) in wanted {
        let there = live.get(name);
        match (value, there) {
            (Value::Object(_), Some(Value::Object(_))) => {
                let inner = object_patch(last.get(name), value, there.unwrap_or(&Value::Null));
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (Value::Array(items), Some(Value::Array(there))) if covers(items, there) => {}
            (value, there) if there == Some(value) => {}
            (value, _) => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    for name in last.keys().filter(|name| !wanted.contains_key(*name) && live.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    patch
}

/// Whether the live list is the wanted one plus defaults: same length, and nothing of an item
/// would change.
fn covers(wanted: &[Value], live: &[Value]) -> bool {
    wanted.len() == live.len()
        && wanted.iter().zip(live).all(|(wanted, live)| match (wanted, live) {
            (Value::Object(_), Value::Object(_)) => object_patch(None, wanted, live).is_empty(),
            (Value::Array(wanted), Value::Array(live)) => covers(wanted, live),
            (wanted, live) => wanted == live,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_what_differs_and_removes_what_was_dropped() {
        let last = json!({"data": {"a": "1", "b": "2"}});
        let wanted = json!({"data": {"a": "9"}});
        let live = json!({"data": {"a": "1", "b": "2", "other": "x"}, "status": {}});
        let patch = three_way(Some(&last), &wanted, &live);
        assert_eq!(patch, Some(json!({"data": {"a": "9", "b": null}})));
    }

    #[test]
    fn a_manifest_that_only_lacks_defaults_changes_nothing() {
        let wanted =
            json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}});
        let live = json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80,
            "protocol": "TCP"}], "terminationMessagePath": "/x"}], "dnsPolicy": "ClusterFirst"}});
        assert_eq!(three_way(None, &wanted, &live), None);
    }

    #[test]
    fn a_list_is_replaced_as_a_whole() {
        let wanted = json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}});
        let live = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}]}});
        assert_eq!(three_way(None, &wanted, &live), Some(wanted));
    }
}
