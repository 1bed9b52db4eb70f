//! What a client may not set or change, put right before validation.
//!
//! Each function takes the object as the client wants it (and the stored one for an update) and
//! makes it what may be stored. They own `status` and `metadata.generation`. *Source:* the
//! `PrepareForCreate` and `PrepareForUpdate` of each resource upstream.

pub mod custom;
pub mod definition;
pub mod endpointslice;
pub mod job;
pub mod namespace;
pub mod pod;
pub mod resourceclaim;
pub mod service;
pub mod with_generation;

use serde_json::{Map, Value, json};

use crate::decode;
use crate::field_error::FieldError;
use crate::schema::{self, FieldType};

/// Leaves a new object as it is.
pub fn leave(_object: &mut Value) {}

/// Leaves an update as it is.
pub fn leave_update(_new: &mut Value, _old: &Value) {}

/// Finds nothing wrong with a new object.
pub fn accept(_object: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// Finds nothing wrong with an update.
pub fn accept_update(_new: &Value, _old: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// Starts a new object without the status that its client gave: with what its type writes at zero.
pub fn without_status(object: &mut Value) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let ty = schema::lookup(group, version, text("kind"));
    let field = ty.and_then(|ty| ty.field("status"));
    let status = match field.map(|field| &field.ty) {
        Some(FieldType::Ref(ty)) => decode::empty(ty),
        Some(_) | None => Value::Object(Map::new()),
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("status".to_owned(), status);
    }
}

/// Starts a volume or a claim: it waits for its other half.
pub fn pending(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("status".to_owned(), json!({"phase": "Pending"}));
    }
}

/// Keeps the stored `status`: the main resource cannot change it.
pub fn keep_status(new: &mut Value, old: &Value) {
    keep(new, old, "status");
}

/// Takes nothing but `status` from an update of that subresource, as definitions, attachments and claims of
/// resources do.
///
/// The server's own bookkeeping (`resourceVersion`, `managedFields`) is taken from the update, so
/// that a precondition sent by the client is still seen.
pub fn status_only(new: &mut Value, old: &Value) {
    keep_everything_but(new, old, &["status"]);
    keep_metadata_but(new, old, &["resourceVersion", "managedFields"]);
}

/// Takes `status` and metadata from an update of the status subresource, as most kinds do.
pub fn status_and_metadata(new: &mut Value, old: &Value) {
    keep_everything_but(new, old, &["status", "metadata"]);
    copy_member(new, old, "metadata", "generation");
}

/// The same without labels, as Deployments do.
pub fn status_and_metadata_but_labels(new: &mut Value, old: &Value) {
    status_and_metadata(new, old);
    copy_member(new, old, "metadata", "labels");
}

/// Makes a top-level field what it was, absent included.
pub(crate) fn keep(new: &mut Value, old: &Value, field: &str) {
    let Some(object) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => {
            object.insert(field.to_owned(), value.clone());
        }
        None => {
            object.remove(field);
        }
    }
}

/// Makes every top-level field but these what it was; `apiVersion` and `kind` stay.
fn keep_everything_but(new: &mut Value, old: &Value, changed: &[&str]) {
    let fixed = |field: &str| !changed.contains(&field) && !TYPE_AND_METADATA.contains(&field);
    let old_fields = old.as_object().into_iter().flat_map(Map::keys);
    let new_fields = new.as_object().into_iter().flat_map(Map::keys);
    let fields: Vec<String> =
        old_fields.chain(new_fields).filter(|field| fixed(field)).cloned().collect();
    for field in fields {
        keep(new, old, &field);
    }
}

const TYPE_AND_METADATA: &[&str] = &["apiVersion", "kind", "metadata"];

fn keep_metadata_but(new: &mut Value, old: &Value, changed: &[&str]) {
    let mut metadata = old.get("metadata").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    for field in changed {
        copy_value(&mut metadata, new.get("metadata"), field);
    }
    if let Some(object) = new.as_object_mut() {
        object.insert("metadata".to_owned(), metadata);
    }
}

/// Copies one member of a top-level object from old to new, absent included.
fn copy_member(new: &mut Value, old: &Value, field: &str, member: &str) {
    if let Some(target) = new.get_mut(field) {
        copy_value(target, old.get(field), member);
    }
}

fn copy_value(target: &mut Value, source: Option<&Value>, member: &str) {
    let Some(target) = target.as_object_mut() else { return };
    match source.and_then(|value| value.get(member)) {
        Some(value) => {
            target.insert(member.to_owned(), value.clone());
        }
        None => {
            target.remove(member);
        }
    }
}
