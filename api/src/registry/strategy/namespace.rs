//! Namespaces: the finalizer that holds them until they are empty, and their phase.

use serde_json::{Value, json};

use super::{keep, keep_status};
use crate::defaults;

/// Starts active, with the finalizer that the namespace controller removes at the end, and with the
/// label that defaulting could not give while the name was still to be generated.
pub fn create(object: &mut Value) {
    defaults::namespace::set(object);
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
