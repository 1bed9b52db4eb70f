//! Unknown fields go, and their paths are told.

use serde_json::{Map, Value};

use super::schema::{Additional, Structural};

/// Paths that are collected; the rest is dropped without a word, so that a hostile body cannot make
/// an answer larger than itself.
const PATHS_MAX: usize = 100;

/// Fields of a whole object, which no schema needs to name.
const OBJECT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes what the schema does not know of a whole object; gives the paths of what went.
pub(super) fn prune(object: &mut Value, schema: &Structural) -> Vec<String> {
    let mut gone = Vec::new();
    if let Some(members) = object.as_object_mut() {
        prune_members(members, schema, Whole::Yes, "", &mut gone);
    }
    gone
}

/// Whether members are those of an object with metadata of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}

fn prune_value(value: &mut Value, schema: &Structural, path: &str, gone: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let whole = if schema.embedded { Whole::Yes } else { Whole::No };
            prune_members(members, schema, whole, path, gone);
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune_value(item, schema, &format!("{path}[{index}]"), gone);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn prune_members(
    members: &mut Map<String, Value>,
    schema: &Structural,
    whole: Whole,
    path: &str,
    gone: &mut Vec<String>,
) {
    let any = schema.preserve || matches!(schema.additional, Additional::Any);
    members.retain(|name, value| {
        let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let Some(schema) = schema.member(name).filter(|_| !is_own(whole, name)) {
            prune_value(value, schema, &here, gone);
            return true;
        }
        let stays = any || is_own(whole, name);
        if !stays && gone.len() < PATHS_MAX {
            gone.push(here);
        }
        stays
    });
}

fn is_own(whole: Whole, name: &str) -> bool {
    whole == Whole::Yes && OBJECT_FIELDS.contains(&name)
}
