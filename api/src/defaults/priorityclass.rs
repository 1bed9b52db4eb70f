//! PriorityClasses: pods of higher priority may displace others.

use serde_json::Value;

use super::fill::fill_pointer;

/// Fills a PriorityClass.
pub fn set(class: &mut Value) {
    if let Some(class) = class.as_object_mut() {
        fill_pointer(class, "preemptionPolicy", "PreemptLowerPriority");
    }
}
