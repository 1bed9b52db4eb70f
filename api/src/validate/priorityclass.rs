//! Rules for PriorityClasses.

use serde_json::Value;

use super::{Errors, has, immutable, metadata, number, one_of, text};
use crate::field_error::FieldError;
use crate::names;

/// Highest value that a user's class may have; above are the system's own.
pub const USER_PRIORITY_MAX: i64 = 1_000_000_000;

/// Names and values of the system's own classes.
pub const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Checks a new PriorityClass.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    let name = text(&object["metadata"], "name");
    let value = number(object, "value").unwrap_or_default();
    if name.starts_with("system-") {
        if !SYSTEM_CLASSES.contains(&(name, value)) {
            let words = "priority class names with 'system-' prefix are reserved for system use \
                         only. error: only the system's own classes may have this prefix";
            errors.push(FieldError::forbidden("metadata.name", words));
        }
    } else if value > USER_PRIORITY_MAX {
        let words =
            format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        errors.push(FieldError::forbidden("value", words));
    }
    if has(object, "preemptionPolicy") {
        let policy = text(object, "preemptionPolicy");
        one_of(&mut errors, "preemptionPolicy", policy, &["PreemptLowerPriority", "Never"]);
    }
    errors
}

/// Checks a changed PriorityClass.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    if number(new, "value").unwrap_or_default() != number(old, "value").unwrap_or_default() {
        errors.push(FieldError::forbidden("value", "may not be changed in an update."));
    }
    let field = "preemptionPolicy";
    immutable(&mut errors, field, &new[field], &old[field]);
    errors
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn values_and_names() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
        check(validate(&class("high", 1000)), &[]);
        check(validate(&class("system-node-critical", 2_000_001_000)), &[]);
        assert_eq!(validate(&class("system-mine", 1))[0].field, "metadata.name");
        check(
            validate(&class("high", USER_PRIORITY_MAX + 1)),
            &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        );
        check(
            validate_update(&class("a", 1), &class("a", 2)),
            &["value: Forbidden: may not be changed in an update."],
        );
    }
}
