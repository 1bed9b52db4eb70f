//! Rules for ResourceSlices: where devices are, and what they are. *Source:* `ValidateResourceSlice`.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::super::csinode::check_driver_name;
use super::super::pod::check_node_selector;
use super::super::{Errors, complain, has, immutable, items, metadata, number, text};
use super::{check_label, check_pool, check_qualified, each, named, once};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Most devices of a slice.
const DEVICES_MAX: usize = 128;

/// Most devices of a slice of which some have taints or share counters.
const INTRICATE_DEVICES_MAX: usize = 64;

/// Most attributes and capacities of a device together.
const PROPERTIES_MAX: usize = 32;

/// Most bytes of an attribute that is a text or a version.
const ATTRIBUTE_BYTES_MAX: usize = 64;

/// Most sets of counters of a slice.
const COUNTER_SETS_MAX: usize = 8;

/// Most counters of a set.
const COUNTERS_MAX: usize = 32;

/// A version. *Source:* semver.org, 2.0.0.
static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let number = r"(0|[1-9]\d*)";
    let part = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)";
    let build = "[0-9a-zA-Z-]+";
    let text =
        format!(r"^{number}\.{number}\.{number}(-{part}(\.{part})*)?(\+{build}(\.{build})*)?$");
    Regex::new(&text).ok()
});

/// Checks a new ResourceSlice.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check(&mut errors, &object["spec"], None);
    errors
}

/// Checks a changed ResourceSlice: whose it is and where stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check(&mut errors, &new["spec"], Some(&old["spec"]));
    errors
}

fn check(errors: &mut Errors, spec: &Value, old: Option<&Value>) {
    check_driver_name(errors, &SPEC.child("driver"), text(spec, "driver"));
    let (pool, path) = (&spec["pool"], SPEC.child("pool"));
    check_pool(errors, &path.child("name"), text(pool, "name"));
    let count = number(pool, "resourceSliceCount").unwrap_or_default();
    if count <= 0 {
        let words = "must be greater than zero";
        errors.push(FieldError::invalid(path.child("resourceSliceCount"), count, words));
    }
    if let Some(generation) = number(pool, "generation").filter(|generation| *generation < 0) {
        let words = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(path.child("generation"), generation, words));
    }
    if let Some(old) = old {
        immutable(errors, path.child("name"), &pool["name"], &old["pool"]["name"]);
        for field in ["driver", "nodeName"] {
            immutable(errors, SPEC.child(field), &spec[field], &old[field]);
        }
    }
    check_place(errors, spec);
    check_parts(errors, spec);
}

/// Checks that a slice is for one node, for some, for all, or that its devices say it.
fn check_place(errors: &mut Errors, spec: &Value) {
    let mut places = Vec::new();
    check_node_name(
        errors,
        &SPEC,
        spec,
        "must be either unset or set to a non-empty string",
        &mut places,
    );
    if has(spec, "nodeSelector") {
        places.push("`nodeSelector`");
        let path = SPEC.child("nodeSelector");
        check_node_selector(errors, &path, &spec["nodeSelector"]);
        let terms = &spec["nodeSelector"]["nodeSelectorTerms"];
        if terms.as_array().map_or(0, Vec::len) != 1 {
            let words = "must have exactly one node selector term";
            errors.push(FieldError::invalid(path.child("nodeSelectorTerms"), terms, words));
        }
    }
    for (field, shown) in
        [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")]
    {
        check_flag(errors, &SPEC, spec, field, shown, &mut places);
    }
    let words = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match places.len() {
        0 => errors.push(FieldError::required(SPEC, words)),
        1 => {}
        _ => {
            let words = format!("{words}, but multiple fields are set");
            let shown = format!("{{{}}}", places.join(", "));
            errors.push(FieldError::invalid(SPEC, shown, words));
        }
    }
}

fn check_node_name(
    errors: &mut Errors,
    path: &Path<'_>,
    of: &Value,
    words: &str,
    places: &mut Vec<&'static str>,
) {
    if !has(of, "nodeName") {
        return;
    }
    let (name, path) = (text(of, "nodeName"), path.child("nodeName"));
    if name.is_empty() {
        return errors.push(FieldError::invalid(path, name, words));
    }
    places.push("`nodeName`");
    complain(errors, path, name, names::dns1123_subdomain(name));
}

fn check_flag(
    errors: &mut Errors,
    path: &Path<'_>,
    of: &Value,
    field: &str,
    shown: &'static str,
    places: &mut Vec<&'static str>,
) {
    match of[field].as_bool() {
        None => {}
        Some(true) => places.push(shown),
        Some(false) => {
            let words = "must be either unset or set to true";
            errors.push(FieldError::invalid(path.child(field), false, words));
        }
    }
}

/// Checks the devices and the counters that they share.
fn check_parts(errors: &mut Errors, spec: &Value) {
    if has(spec, "sharedCounters") && has(spec, "devices") {
        let words = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid(SPEC, "", words));
    }
    let devices = items(spec, "devices");
    let is_intricate = |device: &Value| {
        ["taints", "consumesCounters"].iter().any(|field| !items(device, field).is_empty())
    };
    let max = if devices.iter().any(is_intricate) { INTRICATE_DEVICES_MAX } else { DEVICES_MAX };
    let by_device = spec["perDeviceNodeSelection"] == true;
    let path = SPEC.child("devices");
    each(errors, &path, devices, max, |errors, path, device| {
        check_device(errors, path, device, by_device);
    });
    if devices.len() <= max {
        once(errors, &path, devices, named);
    }
    let (sets, path) = (items(spec, "sharedCounters"), SPEC.child("sharedCounters"));
    each(errors, &path, sets, COUNTER_SETS_MAX, |errors, path, set| {
        check_counters(errors, path, set, "name");
    });
    if sets.len() <= COUNTER_SETS_MAX {
        once(errors, &path, sets, named);
    }
}

/// Checks counters, and the name of their set in `field`.
fn check_counters(errors: &mut Errors, path: &Path<'_>, set: &Value, field: &str) {
    let name = text(set, field);
    if name.is_empty() {
        errors.push(FieldError::required(path.child(field), ""));
    } else {
        check_label(errors, &path.child(field), name);
    }
    let path = path.child("counters");
    let counters = set["counters"].as_object().map_or(0, Map::len);
    if counters == 0 {
        return errors.push(FieldError::required(path, ""));
    }
    if counters > COUNTERS_MAX {
        return errors.push(FieldError::too_many(path, counters, COUNTERS_MAX));
    }
    for name in set["counters"].as_object().into_iter().flat_map(Map::keys) {
        check_label(errors, &path.key(name), name);
    }
}

fn check_device(errors: &mut Errors, path: &Path<'_>, device: &Value, by_device: bool) {
    check_label(errors, &path.child("name"), named(device));
    let members = |field: &str| device[field].as_object().into_iter().flatten();
    let properties = members("attributes").count() + members("capacity").count();
    if properties > PROPERTIES_MAX {
        let words = format!(
            "the total number of attributes and capacities must not exceed {PROPERTIES_MAX}"
        );
        errors.push(FieldError::invalid(path, properties, words));
    }
    let attributes = path.child("attributes");
    for (name, attribute) in members("attributes") {
        let path = attributes.key(name);
        check_qualified(errors, &path, name);
        check_attribute(errors, &path, attribute);
    }
    let capacities = path.child("capacity");
    for (name, _) in members("capacity") {
        check_qualified(errors, &capacities.key(name), name);
    }
    let consumed = path.child("consumesCounters");
    for (index, set) in items(device, "consumesCounters").iter().enumerate() {
        check_counters(errors, &consumed.index(index), set, "counterSet");
    }
    if by_device {
        check_device_place(errors, path, device);
    } else if ["nodeName", "nodeSelector", "allNodes"].iter().any(|field| has(device, field)) {
        let words = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        errors.push(FieldError::invalid(path, Value::Null, words));
    }
}

fn check_device_place(errors: &mut Errors, path: &Path<'_>, device: &Value) {
    let mut places = Vec::new();
    check_node_name(errors, path, device, "must not be empty", &mut places);
    if has(device, "nodeSelector") {
        places.push("`nodeSelector`");
        check_node_selector(errors, &path.child("nodeSelector"), &device["nodeSelector"]);
    }
    check_flag(errors, path, device, "allNodes", "`allNodes`", &mut places);
    let words = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match places.len() {
        0 => errors.push(FieldError::required(path, words)),
        1 => {}
        _ => {
            let shown = format!("{{{}}}", places.join(", "));
            errors.push(FieldError::invalid(path, shown, words));
        }
    }
}

fn check_attribute(errors: &mut Errors, path: &Path<'_>, attribute: &Value) {
    for field in ["string", "version"] {
        let (path, value) = (path.child(field), text(attribute, field));
        let is_version = || VERSION.as_ref().is_none_or(|version| version.is_match(value));
        if field == "version" && has(attribute, field) && !is_version() {
            let words = "must be a string compatible with semver.org spec 2.0.0";
            errors.push(FieldError::invalid(path, value, words));
        }
        if value.len() > ATTRIBUTE_BYTES_MAX {
            errors.push(FieldError::too_long(path, ATTRIBUTE_BYTES_MAX));
        }
    }
    let fields = ["bool", "int", "string", "version"];
    let words = "exactly one value must be specified";
    match fields.iter().filter(|field| has(attribute, field)).count() {
        0 => errors.push(FieldError::invalid(path, "", words)),
        1 => {}
        _ => errors.push(FieldError::invalid(path, attribute, words)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;
    use serde_json::json;

    fn slice(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"driver": "d", "nodeName": "n",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}}});
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        object
    }

    fn check(spec: Value, expected: &[&str]) {
        testing::check(validate(&slice(spec)), expected);
    }

    #[test]
    fn whose_and_where() {
        check(json!({}), &[]);
        testing::check(
            validate(&json!({"metadata": {"name": "a"}, "spec": {}})),
            &[
                "spec.driver: Required value",
                "spec.pool.name: Required value",
                "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
            ],
        );
        check(
            json!({"allNodes": true, "perDeviceNodeSelection": false}),
            &[
                "spec.perDeviceNodeSelection: Invalid value: false: must be either unset or set to true",
                "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
            ],
        );
        let mut moved = slice(json!({}));
        moved["spec"]["nodeName"] = json!("m");
        testing::check(
            validate_update(&moved, &slice(json!({}))),
            &["spec.nodeName: Invalid value: \"m\": field is immutable"],
        );
    }

    #[test]
    fn devices() {
        let fine = json!({"name": "gpu-0", "attributes": {"model": {"string": "x"}, "example.com/version": {"version": "1.2.3-rc.1"}},
            "capacity": {"memory": {"value": "10Gi"}}});
        check(json!({"devices": [fine]}), &[]);
        check(
            json!({"devices": [fine, fine, {"name": "Gpu", "attributes": {"a-b": {}, "v": {"version": "1.2"}}, "nodeName": "n"}]}),
            &[
                "spec.devices[2].name: Invalid value: \"Gpu\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "spec.devices[2].attributes[a-b]: Invalid value: \"a-b\": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
                "spec.devices[2].attributes[a-b]: Invalid value: \"\": exactly one value must be specified",
                "spec.devices[2].attributes[v].version: Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0",
                "spec.devices[2]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
                "spec.devices[1]: Duplicate value: \"gpu-0\"",
            ],
        );
        check(
            json!({"devices": vec![json!({"name": "x"}); 129]}),
            &["spec.devices: Too many: 129: must have at most 128 items"],
        );
    }
}
