//! CustomResourceDefinitions: versions in which objects may be kept are remembered.

use serde_json::{Value, json};

use super::with_generation;

/// Starts a definition: nothing is accepted yet.
pub fn create(object: &mut Value) {
    with_generation::create_without_status(object);
    let stored: Vec<Value> = storage(object).into_iter().collect();
    if let Some(fields) = object.as_object_mut() {
        let names = json!({"plural": "", "kind": ""});
        let status = json!({"conditions": [], "acceptedNames": names, "storedVersions": stored});
        fields.insert("status".to_owned(), status);
    }
}

/// Keeps the status and adds a new storage version to those that objects may have.
pub fn update(new: &mut Value, old: &Value) {
    with_generation::update(new, old);
    let Some(name) = storage(new) else { return };
    let stored = new.pointer_mut("/status/storedVersions").and_then(Value::as_array_mut);
    if let Some(stored) = stored.filter(|stored| !stored.contains(&name)) {
        stored.push(name);
    }
}

/// Names the version in which objects are kept.
fn storage(object: &Value) -> Option<Value> {
    let versions = object.pointer("/spec/versions").and_then(Value::as_array)?;
    versions.iter().find(|version| version["storage"] == true)?.get("name").cloned()
}
