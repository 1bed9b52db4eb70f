//! Rules for ConfigMaps, and for the keys and the size of what they hold.

use serde_json::Value;

use super::{Errors, complain, metadata, same};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Most bytes of all values of a ConfigMap or a Secret together.
pub const DATA_BYTES_MAX: usize = 1024 * 1024;

/// Checks a new ConfigMap.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    let data = check_keys(&mut errors, "data", &object["data"]);
    let path = Path::root("data");
    for key in object["data"].as_object().into_iter().flatten().map(|(key, _)| key) {
        if object["binaryData"].get(key).is_some() {
            let words = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(path.key(key), key, words));
        }
    }
    let binary = check_keys(&mut errors, "binaryData", &object["binaryData"]);
    let bytes = data.text_bytes + binary.decoded_bytes;
    if bytes > DATA_BYTES_MAX {
        errors.push(FieldError::too_long("[]", DATA_BYTES_MAX));
    }
    errors
}

/// Checks a changed ConfigMap.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_immutable(&mut errors, new, old, &["data", "binaryData"]);
    errors.extend(validate(new));
    errors
}

/// How much a map of values holds.
pub(super) struct Held {
    /// Bytes of the text as it stands.
    pub(super) text_bytes: usize,
    /// Bytes that the text stands for when it is base64.
    pub(super) decoded_bytes: usize,
}

/// Checks the keys of a map of values and counts its bytes.
pub(super) fn check_keys(errors: &mut Errors, field: &str, map: &Value) -> Held {
    let path = Path::root(field);
    let mut held = Held { text_bytes: 0, decoded_bytes: 0 };
    for (key, value) in map.as_object().into_iter().flatten() {
        complain(errors, path.key(key), key, names::config_map_key(key));
        let text = value.as_str().unwrap_or_default();
        held.text_bytes += text.len();
        held.decoded_bytes += text.trim_end_matches('=').len() * 3 / 4;
    }
    held
}

/// Refuses changes of an object that was made immutable.
pub(super) fn check_immutable(errors: &mut Errors, new: &Value, old: &Value, fields: &[&str]) {
    let is_immutable = |object: &Value| object["immutable"] == Value::Bool(true);
    if !is_immutable(old) {
        return;
    }
    let words = "field is immutable when `immutable` is set";
    if !is_immutable(new) {
        errors.push(FieldError::forbidden("immutable", words));
    }
    for field in fields {
        let empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
        let (new, old) = (&new[field], &old[field]);
        if !(same(new, old) || empty(new) && empty(old)) {
            errors.push(FieldError::forbidden(field, words));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn map(fields: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a", "namespace": "b"}});
        for (field, value) in fields.as_object().unwrap() {
            object[field] = value.clone();
        }
        object
    }

    #[test]
    fn keys_and_size() {
        check(validate(&map(json!({"data": {"a.b": "x"}, "binaryData": {"c": "AAAA"}}))), &[]);
        check(
            validate(&map(json!({"data": {"a": "x", "..": "y"}, "binaryData": {"a": "AAAA"}}))),
            &[
                "data[..]: Invalid value: \"..\": must not be '..'",
                "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
            ],
        );
        check(
            validate(&map(json!({"data": {"a": "x".repeat(DATA_BYTES_MAX + 1)}}))),
            &["[]: Too long: may not be more than 1048576 bytes"],
        );
    }

    #[test]
    fn immutable_stays() {
        let old = map(json!({"immutable": true, "data": {"a": "1"}}));
        check(validate_update(&old, &old), &[]);
        check(
            validate_update(&map(json!({"data": {"a": "2"}})), &old),
            &[
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ],
        );
    }
}
