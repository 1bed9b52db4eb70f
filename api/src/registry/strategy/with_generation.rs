//! Kinds whose `metadata.generation` counts the changes of the desired state.

use serde_json::Value;

use crate::meta;

use super::keep_status;

/// Starts at generation 1 without status.
pub fn create(object: &mut Value) {
    super::without_status(object);
    create_without_status(object);
}

/// Starts at generation 1, for a kind that has no status.
pub fn create_without_status(object: &mut Value) {
    meta::set(object, "generation", 1);
}

/// Keeps `status` and counts a changed `spec`.
pub fn update(new: &mut Value, old: &Value) {
    keep_status(new, old);
    count(new, old, new.get("spec") != old.get("spec"));
}

/// Counts a changed `spec`, for a kind that has no status.
pub fn update_spec(new: &mut Value, old: &Value) {
    count(new, old, new.get("spec") != old.get("spec"));
}

/// Counts any change outside of `metadata`, for a kind without `spec` and status.
pub fn update_whole(new: &mut Value, old: &Value) {
    let members = |object: &Value| -> Vec<(String, Value)> {
        let all = object.as_object().into_iter().flatten();
        let own = all.filter(|(name, _)| name.as_str() != "metadata");
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let changed = members(new) != members(old);
    count(new, old, changed);
}

/// Keeps `status` and counts a changed `spec` or changed annotations, as Deployments do.
pub fn update_or_annotations(new: &mut Value, old: &Value) {
    keep_status(new, old);
    let annotations = |object: &Value| meta::annotations(object).cloned().unwrap_or_default();
    let changed = new.get("spec") != old.get("spec") || annotations(new) != annotations(old);
    count(new, old, changed);
}

/// Sets the generation after that of the stored object, or the same when nothing changed.
pub(super) fn count(new: &mut Value, old: &Value, changed: bool) {
    let before = meta::generation(old);
    meta::set(new, "generation", if changed { before + 1 } else { before });
}
