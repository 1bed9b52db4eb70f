//! What may change in a Pod: images, the active deadline, added tolerations, removed scheduling
//! gates, and while gates are there the node selector and affinity.

use serde_json::Value;

use super::super::{Errors, items, metadata, number, same, text};
use super::{SPEC, metadata_and_spec};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Checks a changed Pod.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    errors.extend(metadata_and_spec(new));
    let (new, old) = (&new["spec"], &old["spec"]);
    for list in ["containers", "initContainers"] {
        if items(new, list).len() != items(old, list).len() {
            let words = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(SPEC.child(list), words));
            return errors;
        }
    }
    check_deadline(&mut errors, new, old);
    check_tolerations(&mut errors, new, old);
    check_gates(&mut errors, new, old);
    if !same(new, old) && !same(&munged(new, old), old) {
        let words = "pod updates may not change fields other than \
                     `spec.containers[*].image`,`spec.initContainers[*].image`,\
                     `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                     tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 \
                     if it was previously negative)";
        let changed = changes(&munged(new, old), old);
        errors.push(FieldError::forbidden(SPEC, format!("{words}\n{changed}")));
    }
    errors
}

/// Gives the new spec with every field that may change put back.
fn munged(new: &Value, old: &Value) -> Value {
    let mut munged = new.clone();
    for list in ["containers", "initContainers"] {
        let containers = munged.get_mut(list).and_then(Value::as_array_mut);
        let Some(containers) = containers else { continue };
        for (container, before) in containers.iter_mut().zip(items(old, list)) {
            put_back(container, before, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put_back(&mut munged, old, field);
    }
    let grace = "terminationGracePeriodSeconds";
    if number(old, grace).is_some_and(|seconds| seconds < 0) && number(new, grace) == Some(1) {
        put_back(&mut munged, old, grace);
    }
    if !items(old, "schedulingGates").is_empty() {
        put_back(&mut munged, old, "nodeSelector");
        if let Some(affinity) = munged.get_mut("affinity").filter(|it| it.is_object()) {
            put_back(affinity, &old["affinity"], "nodeAffinity");
        }
    }
    munged
}

fn put_back(new: &mut Value, old: &Value, field: &str) {
    let Some(fields) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}

/// Names the fields that differ, each with its old and its new value.
fn changes(new: &Value, old: &Value) -> String {
    let mut lines = vec![];
    push_changes(&mut lines, String::from("spec"), new, old);
    lines.join("\n")
}

fn push_changes(lines: &mut Vec<String>, path: String, new: &Value, old: &Value) {
    if same(new, old) {
        return;
    }
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (new, old) = (of(new).unwrap_or_default(), of(old).unwrap_or_default());
                push_changes(lines, format!("{path}.{key}"), &new, &old);
            }
        }
        (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
            for (index, (new, old)) in new.iter().zip(old).enumerate() {
                push_changes(lines, format!("{path}[{index}]"), new, old);
            }
        }
        (new, old) => lines.push(format!("{path}: was {old}, must not become {new}")),
    }
}

fn check_deadline(errors: &mut Errors, new: &Value, old: &Value) {
    let field = "activeDeadlineSeconds";
    let path = SPEC.child(field);
    let max = i64::from(i32::MAX);
    match (number(new, field), number(old, field)) {
        (Some(new), _) if !(0..=max).contains(&new) => {
            errors.push(FieldError::invalid(path, new, names::in_range(0, max)));
        }
        (Some(new), Some(old)) if old < new => {
            let words = "must be less than or equal to previous value";
            errors.push(FieldError::invalid(path, new, words));
        }
        (None, Some(_)) => {
            let words = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(path, Value::Null, words));
        }
        (Some(_) | None, Some(_) | None) => {}
    }
}

fn check_tolerations(errors: &mut Errors, new: &Value, old: &Value) {
    let fields = ["key", "operator", "value", "effect"];
    let alike = |a: &Value, b: &Value| fields.iter().all(|field| text(a, field) == text(b, field));
    let new = items(new, "tolerations");
    let kept = |old: &Value| new.iter().any(|new| alike(new, old));
    if !items(old, "tolerations").iter().all(kept) {
        let words = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(SPEC.child("tolerations"), words));
    }
}

fn check_gates(errors: &mut Errors, new: &Value, old: &Value) {
    let path: Path<'_> = SPEC.child("schedulingGates");
    let known = items(old, "schedulingGates");
    for (index, gate) in items(new, "schedulingGates").iter().enumerate() {
        if !known.contains(gate) {
            let words = "only deletion is allowed, but found new scheduling gate";
            let name = text(gate, "name");
            errors.push(FieldError::forbidden(path.index(index), format!("{words} '{name}'")));
        }
    }
}
