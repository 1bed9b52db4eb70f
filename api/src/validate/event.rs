//! Rules for Events of the core group.

use serde_json::Value;

use super::{Errors, complain, has, immutable, metadata, text};
use crate::field_error::FieldError;
use crate::names;

/// Fields of a new-style Event (with `eventTime`) that may not change; its series may.
const FIXED: [&str; 13] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

/// Checks a new Event: it stands in the namespace of its object.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    let namespace = text(&object["metadata"], "namespace");
    let involved = text(&object["involvedObject"], "namespace");
    // An Event about a cluster-scoped object stands in `default`, or in `kube-system`.
    let fits = if involved.is_empty() {
        matches!(namespace, "" | "default" | "kube-system")
    } else {
        namespace == involved
    };
    if !fits {
        let words = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", involved, words));
    }
    if has(object, "eventTime") {
        check_new_style(&mut errors, object);
    }
    errors
}

/// Checks a changed Event.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    if has(new, "eventTime") {
        for field in FIXED {
            immutable(&mut errors, field, &new[field], &old[field]);
        }
    }
    errors
}

fn check_new_style(errors: &mut Errors, object: &Value) {
    let controller = text(object, "reportingComponent");
    if controller.is_empty() {
        errors.push(FieldError::required("reportingController", ""));
    } else {
        complain(errors, "reportingController", controller, names::qualified_name(controller));
    }
    for (field, max) in [("reportingInstance", 128), ("action", 128), ("reason", 128)] {
        let value = text(object, field);
        if value.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if value.len() > max {
            let words = format!("can have at most {max} characters");
            errors.push(FieldError::invalid(field, "", words));
        }
    }
    if text(object, "message").len() > 1024 {
        errors.push(FieldError::invalid("message", "", "can have at most 1024 characters"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn event(namespace: &str, involved: &str) -> Value {
        json!({"metadata": {"name": "a", "namespace": namespace},
               "involvedObject": {"kind": "Pod", "namespace": involved}})
    }

    #[test]
    fn the_namespace_is_that_of_the_object() {
        check(validate(&event("a", "a")), &[]);
        check(validate(&event("default", "")), &[]);
        check(
            validate(&event("a", "b")),
            &["involvedObject.namespace: Invalid value: \"b\": does not match event.namespace"],
        );
    }

    #[test]
    fn counts_of_old_style_events_grow() {
        let mut new = event("a", "a");
        new["count"] = json!(2);
        check(validate_update(&new, &event("a", "a")), &[]);
        new["eventTime"] = json!("2026-01-01T00:00:00.000000Z");
        assert_eq!(validate_update(&new, &event("a", "a")).len(), 2);
    }
}
