//! Kinds of users that have a `status` subresource.

use serde_json::{Map, Value};

use super::with_generation::count;
use super::{keep, keep_everything_but, keep_status};
use crate::meta;

/// Starts at generation 1, without the status that the client gave.
pub fn create(object: &mut Value) {
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    meta::set(object, "generation", 1);
}

/// Keeps `status`, and counts any change outside of metadata.
pub fn update(new: &mut Value, old: &Value) {
    keep_status(new, old);
    let own = |object: &Value| -> Map<String, Value> {
        let mut members = object.as_object().cloned().unwrap_or_default();
        members.remove("metadata");
        members.remove("apiVersion");
        members
    };
    let changed = own(new) != own(old);
    count(new, old, changed);
}

/// Takes nothing but `status`; the server's own bookkeeping is taken from the update, so that a
/// precondition sent by the client is still seen.
pub fn update_status(new: &mut Value, old: &Value) {
    let metadata = new.get("metadata").cloned();
    keep_everything_but(new, old, &["status"]);
    keep(new, old, "metadata");
    for field in ["resourceVersion", "managedFields"] {
        match metadata.as_ref().and_then(|metadata| metadata.get(field)) {
            Some(value) => meta::set(new, field, value.clone()),
            None => meta::remove(new, field),
        }
    }
}
