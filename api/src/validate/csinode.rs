//! Rules for CSINodes. *Source:* `ValidateCSINode` in `pkg/apis/storage/validation`.

use std::collections::HashSet;

use serde_json::Value;

use super::{Errors, complain, immutable, items, metadata, non_negative, number, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Most bytes of the name that a driver has for a node.
const NODE_ID_BYTES_MAX: usize = 256;

/// Most bytes of the name of a driver.
pub(super) const DRIVER_NAME_BYTES_MAX: usize = 63;

/// Checks a new CSINode.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed CSINode: a driver that stays has the same names; how many volumes it takes may change.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check(&mut errors, &new["spec"]);
    let without_count = |driver: &Value| {
        let mut driver = driver.clone();
        if let Some(members) = driver.as_object_mut() {
            members.remove("allocatable");
        }
        driver
    };
    for before in items(&old["spec"], "drivers") {
        for now in items(&new["spec"], "drivers").iter().filter(|now| now["name"] == before["name"])
        {
            let path = SPEC.child("drivers");
            immutable(&mut errors, path, &without_count(now), &without_count(before));
        }
    }
    errors
}

fn check(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("drivers");
    let mut seen = HashSet::new();
    for (index, driver) in items(spec, "drivers").iter().enumerate() {
        let path = path.index(index);
        let name = text(driver, "name");
        check_driver_name(errors, &path.child("name"), name);
        check_node_id(errors, &path.child("nodeID"), text(driver, "nodeID"));
        let allocatable = path.child("allocatable");
        let count = number(&driver["allocatable"], "count");
        non_negative(errors, allocatable.child("count"), count);
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.child("name"), name));
        }
        let mut keys = HashSet::new();
        for key in items(driver, "topologyKeys").iter().filter_map(Value::as_str) {
            if key.is_empty() {
                errors.push(FieldError::required(path, ""));
            }
            if !keys.insert(key) {
                errors.push(FieldError::duplicate(path, key));
            }
            complain(errors, path, key, names::qualified_name(key));
        }
    }
}

fn check_node_id(errors: &mut Errors, path: &Path<'_>, id: &str) {
    if id.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    if id.len() > NODE_ID_BYTES_MAX {
        let words = format!("must be {NODE_ID_BYTES_MAX} characters or less");
        errors.push(FieldError::invalid(path, id, words));
    }
}

/// Checks the name of a driver of volumes or devices.
///
/// *Source:* `ValidateCSIDriverName` in `pkg/apis/core/validation`.
pub(super) fn check_driver_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    if name.len() > DRIVER_NAME_BYTES_MAX {
        errors.push(FieldError::too_long(path, DRIVER_NAME_BYTES_MAX));
    }
    complain(errors, path, name, names::dns1123_subdomain(&name.to_lowercase()));
}

#[cfg(test)]
mod tests {
    use super::super::testing::check as compare;
    use super::*;
    use serde_json::json;

    fn node(drivers: Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"drivers": drivers}})
    }

    #[test]
    fn drivers() {
        compare(
            validate(&node(json!([{"name": "A.b", "nodeID": "n", "topologyKeys": ["zone"]}]))),
            &[],
        );
        compare(
            validate(&node(json!([{"name": "a", "nodeID": "", "allocatable": {"count": -1}},
                {"name": "a", "nodeID": "n", "topologyKeys": ["z", "z"]}]))),
            &[
                "spec.drivers[0].nodeID: Required value",
                "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
                "spec.drivers[1].name: Duplicate value: \"a\"",
                "spec.drivers[1]: Duplicate value: \"z\"",
            ],
        );
        compare(
            validate(&node(json!([{"name": "a".repeat(64), "nodeID": "n"}]))),
            &["spec.drivers[0].name: Too long: may not be more than 63 bytes"],
        );
    }

    #[test]
    fn a_driver_stays_but_for_its_count() {
        let old = node(json!([{"name": "a", "nodeID": "n", "allocatable": {"count": 1}}]));
        let counted = node(json!([{"name": "a", "nodeID": "n", "allocatable": {"count": 2}}]));
        compare(validate_update(&counted, &old), &[]);
        compare(validate_update(&node(json!([])), &old), &[]);
        compare(
            validate_update(&node(json!([{"name": "a", "nodeID": "m"}])), &old),
            &["spec.drivers: Invalid value: {\"name\":\"a\",\"nodeID\":\"m\"}: field is immutable"],
        );
    }
}
