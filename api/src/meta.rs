//! Reading and writing `metadata` of an untyped object.
//!
//! Readers give the empty value where a field is absent or has a wrong type, as Go's zero values
//! do; the decoder has refused wrong types before.

use serde_json::{Map, Value};

/// Most bytes of a `generateName` that are kept in front of the random suffix.
/// *Source:* names have at most 63 bytes, the suffix has 5.
pub const GENERATE_NAME_BASE_BYTES_MAX: usize = 58;

/// Number of random characters that `generateName` appends.
pub const GENERATE_NAME_SUFFIX_LENGTH: usize = 5;

/// Letters of random suffixes: no vowels and no look-alikes, so that no words come out.
/// *Source:* `k8s.io/apimachinery/pkg/util/rand`.
const ALPHANUMS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Gives a string field of `metadata`, empty when absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Gives `metadata.name`, empty when absent.
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// Gives `metadata.namespace`, empty when absent.
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// Gives `metadata.generateName`, empty when absent.
pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

/// Gives `metadata.uid`, empty when absent.
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// Gives `metadata.resourceVersion`, empty when absent.
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// Gives `metadata.creationTimestamp`, empty when absent.
pub fn creation_timestamp(object: &Value) -> &str {
    text(object, "creationTimestamp")
}

/// Gives `metadata.deletionTimestamp` when the object is being deleted.
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    object["metadata"]["deletionTimestamp"].as_str()
}

/// Gives `metadata.deletionGracePeriodSeconds`.
pub fn deletion_grace_period_seconds(object: &Value) -> Option<i64> {
    object["metadata"]["deletionGracePeriodSeconds"].as_i64()
}

/// Gives `metadata.generation`, 0 when absent.
pub fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or_default()
}

/// Gives `metadata.labels`, `None` when absent.
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["labels"].as_object()
}

/// Gives one label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

/// Gives `metadata.annotations`, `None` when absent.
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["annotations"].as_object()
}

/// Gives one annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    annotations(object)?.get(key)?.as_str()
}

/// Gives `metadata.finalizers` in their order.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Gives `metadata.ownerReferences` in their order.
pub fn owner_references(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"].as_array().into_iter().flatten()
}

/// Gives the owner reference whose `controller` is true, if any.
pub fn controller_of(object: &Value) -> Option<&Value> {
    owner_references(object).find(|owner| owner["controller"] == Value::Bool(true))
}

/// Gives `metadata` for writing; makes it when it is absent, `null` or no object.
///
/// A value that is itself no object becomes one.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    as_object_mut(entry(as_object_mut(object), "metadata"))
}

/// Sets a field of `metadata`.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(field.to_owned(), value.into());
}

/// Removes a field of `metadata`.
pub fn remove(object: &mut Value, field: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
}

/// Sets one label, making the map when there is none.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    as_object_mut(entry(metadata_mut(object), "labels")).insert(key.to_owned(), value.into());
}

/// Sets one annotation, making the map when there is none.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    as_object_mut(entry(metadata_mut(object), "annotations")).insert(key.to_owned(), value.into());
}

/// Removes one finalizer; an empty list goes with it.
pub fn remove_finalizer(object: &mut Value, finalizer: &str) {
    let metadata = metadata_mut(object);
    if let Some(Value::Array(list)) = metadata.get_mut("finalizers") {
        list.retain(|item| item.as_str() != Some(finalizer));
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    }
}

/// Makes a name from `generateName` and random bytes, one byte per suffix character.
///
/// The base is cut to [`GENERATE_NAME_BASE_BYTES_MAX`] bytes (at a character boundary).
pub fn generated_name(base: &str, random: [u8; GENERATE_NAME_SUFFIX_LENGTH]) -> String {
    let mut end = base.len().min(GENERATE_NAME_BASE_BYTES_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    name.push_str(&random_suffix(random));
    name
}

/// Writes random bytes in the alphabet of generated names.
pub fn random_suffix(random: [u8; GENERATE_NAME_SUFFIX_LENGTH]) -> String {
    random.iter().map(|&byte| char::from(ALPHANUMS[usize::from(byte) % ALPHANUMS.len()])).collect()
}

fn entry<'a>(map: &'a mut Map<String, Value>, field: &str) -> &'a mut Value {
    map.entry(field).or_insert_with(|| Value::Object(Map::new()))
}

/// Views a value as an object, replacing anything else by an empty one.
fn as_object_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("the value was made an object")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_absent_as_empty() {
        let object = json!({"metadata": {"name": "a", "labels": {"x": "y"}}});
        assert_eq!(name(&object), "a");
        assert_eq!(namespace(&object), "");
        assert_eq!(label(&object, "x"), Some("y"));
        assert_eq!(finalizers(&object).count(), 0);
        assert_eq!(controller_of(&json!({})), None);
    }

    #[test]
    fn writes_make_what_is_missing() {
        let mut object = json!({});
        set_label(&mut object, "a", "b");
        set_annotation(&mut object, "c", "d");
        set(&mut object, "finalizers", json!(["x", "y"]));
        remove_finalizer(&mut object, "x");
        assert_eq!(
            object,
            json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["y"]}})
        );
        remove_finalizer(&mut object, "y");
        assert_eq!(object["metadata"].get("finalizers"), None);
    }

    #[test]
    fn generated_names_fit() {
        assert_eq!(generated_name("web-", [0, 1, 2, 26, 255]), "web-bcd9q");
        let long = "x".repeat(80);
        assert_eq!(generated_name(&long, [0; 5]).len(), 63);
        assert_eq!(generated_name(&"é".repeat(40), [0; 5]).len(), 63);
    }
}
