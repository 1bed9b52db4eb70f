//! Rules for CSIStorageCapacities. *Source:* `ValidateCSIStorageCapacity` in `pkg/apis/storage/validation`.

use serde_json::Value;

use super::resources::quantity;
use super::{Errors, NEGATIVE, complain, immutable, labels, metadata, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Checks a new CSIStorageCapacity.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    let path = Path::root("nodeTopology");
    labels::check_selector(&mut errors, &path, &object["nodeTopology"]);
    let class = text(object, "storageClassName");
    complain(&mut errors, "storageClassName", class, names::dns1123_subdomain(class));
    let capacity = quantity(&object["capacity"]);
    if let Some(capacity) = capacity.filter(|capacity| capacity.is_negative()) {
        errors.push(FieldError::invalid("capacity", capacity.to_string(), NEGATIVE));
    }
    errors
}

/// Checks a changed CSIStorageCapacity: where and of what it is stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    for field in ["nodeTopology", "storageClassName"] {
        immutable(&mut errors, field, &new[field], &old[field]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn how_much_of_what_where() {
        let of = |class: &str, capacity: &str| {
            json!({"metadata": {"name": "a", "namespace": "b"}, "storageClassName": class, "capacity": capacity,
                "nodeTopology": {"matchLabels": {"zone": "a"}}})
        };
        check(validate(&of("fast", "1Gi")), &[]);
        check(
            validate(&of("fast", "-1")),
            &["capacity: Invalid value: \"-1\": must be greater than or equal to 0"],
        );
        check(validate_update(&of("fast", "2Gi"), &of("fast", "1Gi")), &[]);
        check(
            validate_update(&of("slow", "1Gi"), &of("fast", "1Gi")),
            &["storageClassName: Invalid value: \"slow\": field is immutable"],
        );
    }
}
