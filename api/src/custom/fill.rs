//! Defaults are filled in.

use serde_json::Value;

use super::schema::{Additional, Structural};

/// Fills what is absent; a `null` that is no value is as good as absent, and goes where there is no default.
///
/// *Source:* `PruneNonNullableNullsWithoutDefaults` of apiextensions-apiserver. Doing it twice changes nothing, because defaults are filled themselves.
pub(super) fn fill(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(members) => {
            for (name, schema) in &schema.properties {
                let Some(default) = &schema.default else { continue };
                let absent = match members.get(name.as_ref()) {
                    None => true,
                    Some(found) => found.is_null() && !schema.nullable,
                };
                if absent {
                    members.insert(name.to_string(), default.clone());
                }
            }
            members.retain(|name, value| !value.is_null() || takes_null(name, schema));
            for (name, value) in members.iter_mut() {
                if let Some(schema) = schema.properties.get(name.as_str()) {
                    fill(value, schema);
                } else if let Additional::Schema(schema) = &schema.additional {
                    if value.is_null() && !schema.nullable {
                        value.clone_from(schema.default.as_ref().unwrap_or(&Value::Null));
                    }
                    fill(value, schema);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                if item.is_null() && !schema.nullable {
                    item.clone_from(schema.default.as_ref().unwrap_or(&Value::Null));
                }
                fill(item, schema);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether a member that is `null` stays: it may be so, gets a default, or nothing is known of it.
fn takes_null(name: &str, schema: &Structural) -> bool {
    if let Some(member) = schema.properties.get(name) {
        return member.nullable;
    }
    match &schema.additional {
        Additional::Schema(member) => member.nullable || member.default.is_some(),
        Additional::None | Additional::Any => true,
    }
}
