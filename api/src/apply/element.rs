//! Path elements: how a field set names a member of an object or an item of a list.
//!
//! `f:NAME` is a member, `v:JSON` an item of a set, `k:{JSON}` an item of a list by its keys (sorted),
//! `i:N` an index. *Source:* `FieldsV1` in `k8s.io/apimachinery/pkg/apis/meta/v1`.

use serde_json::{Map, Value};

use super::schema::{Schema, Shape};

/// The element of a member of an object.
pub(super) fn of_member(name: &str) -> String {
    let mut element = String::with_capacity(name.len() + 2);
    element.push_str("f:");
    element.push_str(name);
    element
}

/// The element of an item of a list that is a set or has keys; the list's place gives the keys.
///
/// # Errors
/// Says why the item cannot be told from others.
pub(super) fn of_item<S: Schema>(schema: S, shape: Shape, item: &Value) -> Result<String, String> {
    if shape != Shape::Keyed {
        return match item {
            Value::Null => Err("must not be null in a list whose items are a set".to_owned()),
            Value::Array(_) | Value::Object(_) => {
                Err("must be a scalar in a list whose items are a set".to_owned())
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(format!("v:{item}")),
        };
    }
    let Value::Object(members) = item else {
        return Err("must be an object in a list whose items have keys".to_owned());
    };
    let mut names = schema.keys();
    names.sort_unstable();
    let mut keys = Map::new();
    for name in &names {
        let default = || schema.item().field(name).and_then(Schema::default_value);
        if let Some(value) = members.get(*name).cloned().or_else(default) {
            keys.insert((*name).to_owned(), value);
        }
    }
    if keys.is_empty() {
        return Err(format!(
            "associative list with keys has an element that omits all key fields {names:?} (and doesn't have default \
             values for any key fields)"
        ));
    }
    Ok(format!("k:{}", Value::Object(keys)))
}

/// Appends an element as people read it: `.name`, `[name="web"]`, `[="x"]`, `[3]`.
pub(super) fn show(element: &str, out: &mut String) {
    match element.split_once(':') {
        Some(("f", name)) => {
            out.push('.');
            out.push_str(name);
        }
        Some(("v", value)) => out.push_str(&format!("[={value}]")),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> =
                keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            out.push_str(&format!("[{}]", pairs.join(",")));
        }
        Some((_, index)) => out.push_str(&format!("[{index}]")),
        None => out.push_str(element),
    }
}

/// Tells whether text that a client sent is an element.
pub(super) fn is_well_formed(element: &str) -> bool {
    match element.split_once(':') {
        Some(("f", _)) => true,
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok(),
        Some(("k", keys)) => serde_json::from_str::<Map<String, Value>>(keys).is_ok(),
        Some(("i", index)) => index.parse::<i64>().is_ok(),
        Some(_) | None => false,
    }
}
