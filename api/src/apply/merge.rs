//! A configuration merged into an object: what it names is set, everything else stays.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::element;
use super::schema::{Schema, Shape, member, shape_for};

/// Merges a configuration into an object without a thought of owners, as a mutating admission policy does.
///
/// # Errors
/// The path of a list, map or structure of the configuration that can only be replaced as a whole.
pub fn overlay<S: Schema>(schema: S, object: &mut Value, config: &Value) -> Result<(), String> {
    let mut path = String::new();
    if let Some(unit) = unit(schema, config, &mut path) {
        return Err(unit);
    }
    merge(schema, object, config);
    Ok(())
}

/// The first place of a configuration that is a unit but no scalar.
fn unit<S: Schema>(schema: S, value: &Value, path: &mut String) -> Option<String> {
    let shape = shape_for(schema, [Some(value), None]);
    let below = |name: &str, schema: S, value: &Value, path: &mut String| {
        let length = path.len();
        path.push_str(name);
        let found = unit(schema, value, path);
        path.truncate(length);
        found
    };
    match (shape, value) {
        (Shape::Unit | Shape::Deduced, Value::Array(_) | Value::Object(_)) => Some(path.clone()),
        (Shape::Structure | Shape::Map, Value::Object(members)) => {
            members.iter().find_map(|(name, value)| {
                below(&format!(".{name}"), member(schema, shape, name)?, value, path)
            })
        }
        (Shape::Keyed, Value::Array(items)) => {
            items.iter().enumerate().find_map(|(index, item)| {
                let Value::Object(members) = item else { return None };
                members.iter().find_map(|(name, value)| {
                    let place = schema.item().field(name)?;
                    below(&format!("[{index}].{name}"), place, value, path)
                })
            })
        }
        _ => None,
    }
}

/// Merges a configuration into an object, in place.
///
/// A list whose items cannot be told apart is replaced; the configuration's own lists were checked by
/// `collect` before.
pub(super) fn merge<S: Schema>(schema: S, live: &mut Value, config: &Value) {
    match shape_for(schema, [Some(live), Some(config)]) {
        Shape::Unit | Shape::Deduced => live.clone_from(config),
        shape @ (Shape::Structure | Shape::Map) => members(schema, shape, live, config),
        shape @ (Shape::Set | Shape::Keyed) => items(schema, shape, live, config),
    }
}

fn members<S: Schema>(schema: S, shape: Shape, live: &mut Value, config: &Value) {
    let (Value::Object(live), Value::Object(config)) = (&mut *live, config) else {
        live.clone_from(config);
        return;
    };
    for (name, value) in config {
        match (live.get_mut(name), member(schema, shape, name)) {
            (Some(old), Some(schema)) => merge(schema, old, value),
            (Some(old), None) => old.clone_from(value),
            (None, _) => {
                live.insert(name.clone(), value.clone());
            }
        }
    }
}

fn items<S: Schema>(schema: S, shape: Shape, live: &mut Value, config: &Value) {
    let elements = |list: &Value| -> Option<Vec<String>> {
        let items = list.as_array()?.iter();
        items.map(|item| element::of_item(schema, shape, item).ok()).collect()
    };
    let (Some(ours), Some(theirs)) = (elements(live), elements(config)) else {
        live.clone_from(config);
        return;
    };
    let (Value::Array(old), Value::Array(new)) = (&mut *live, config) else { return };
    let mut old: Vec<Option<Value>> = std::mem::take(old).into_iter().map(Some).collect();
    let places: HashMap<&str, usize> =
        theirs.iter().enumerate().map(|(index, element)| (element.as_str(), index)).collect();
    let mut firsts: HashMap<&str, usize> = HashMap::new();
    for (index, element) in ours.iter().enumerate() {
        firsts.entry(element).or_insert(index);
    }
    let mut merged = Vec::with_capacity(old.len().max(new.len()));
    for from in weave(&ours, &theirs, &places, &firsts) {
        match from {
            From::Live(index) => merged.extend(old.get_mut(index).and_then(Option::take)),
            From::Config(index) => {
                let Some(value) = new.get(index) else { continue };
                let before = theirs.get(index).and_then(|element| firsts.get(element.as_str()));
                let before = before.and_then(|index| old.get_mut(*index)).and_then(Option::take);
                let mut item = before.unwrap_or(Value::Null);
                if shape == Shape::Keyed && item.is_object() {
                    merge(schema.item(), &mut item, value);
                } else {
                    item.clone_from(value);
                }
                merged.push(item);
            }
        }
    }
    *live = Value::Array(merged);
}

/// Where the next item of a merged list comes from.
enum From {
    /// From the object alone.
    Live(usize),
    /// From the configuration, merged into the object's item if there is one.
    Config(usize),
}

/// Orders the items: the configuration's stand in its order, the object's own stay where they stood
/// between them.
///
/// *Source:* `structured-merge-diff`: an item of the object that the configuration has too waits for
/// its turn in the configuration's order.
fn weave(
    ours: &[String],
    theirs: &[String],
    places: &HashMap<&str, usize>,
    firsts: &HashMap<&str, usize>,
) -> Vec<From> {
    let mut shared = theirs.iter().filter(|element| firsts.contains_key(element.as_str()));
    let mut next_shared = shared.next();
    let mut done: HashSet<&str> = HashSet::new();
    let (mut left, mut right) = (0, 0);
    let mut order = Vec::with_capacity(ours.len().max(theirs.len()));
    loop {
        let (our, their) = (ours.get(left), theirs.get(right));
        match (our, their) {
            (None, None) => return order,
            (Some(our), _) if !places.contains_key(our.as_str()) => {
                order.push(From::Live(left));
                left += 1;
            }
            // Merged already, or waiting for its turn.
            (Some(our), Some(their)) if our != their && next_shared.is_some_and(|n| n != our) => {
                left += 1;
            }
            (Some(_), None) => left += 1,
            (our, Some(their)) => {
                if our.is_some_and(|our| our == their || done.contains(our.as_str())) {
                    left += 1;
                }
                done.insert(their);
                if next_shared == Some(their) {
                    next_shared = shared.next();
                }
                order.push(From::Config(right));
                right += 1;
            }
        }
    }
}
