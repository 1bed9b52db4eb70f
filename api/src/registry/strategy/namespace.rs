//! Namespaces: the finalizer that holds them until they are empty, and their phase.

use serde_json::{Value, json};

use super::{keep, keep_status};

/// Starts active, with the finalizer that the namespace controller removes at the end.
pub fn create(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.insert("status".to_owned(), json!({"phase": "Active"}));
    let spec = fields.entry("spec").or_insert_with(|| json!({}));
    let Some(spec) = spec.as_object_mut() else { return };
    let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|finalizer| finalizer == "kubernetes")
    {
        list.push(json!("kubernetes"));
    }
}

/// Keeps the finalizers (they change through `finalize`) and the status.
pub fn update(new: &mut Value, old: &Value) {
    keep(new, old, "spec");
    keep_status(new, old);
}

/// Takes nothing but `spec.finalizers` from an update of the `finalize` subresource.
pub fn finalize(new: &mut Value, old: &Value) {
    let finalizers = new.pointer("/spec/finalizers").cloned();
    let resource_version = new.pointer("/metadata/resourceVersion").cloned();
    *new = old.clone();
    if let (Some(spec), Some(finalizers)) =
        (new.get_mut("spec").and_then(Value::as_object_mut), finalizers)
    {
        spec.insert("finalizers".to_owned(), finalizers);
    } else if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("finalizers");
    }
    if let (Some(metadata), Some(revision)) =
        (new.get_mut("metadata").and_then(Value::as_object_mut), resource_version)
    {
        metadata.insert("resourceVersion".to_owned(), revision);
    }
}
