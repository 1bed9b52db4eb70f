//! Rules for Nodes: taints, addresses, and what may not change once set.

use std::collections::BTreeSet;

use serde_json::Value;

use super::pod::check_taint_effect;
use super::resources::{any_name, check_list};
use super::{Errors, complain, has, items, metadata, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");
const STATUS: Path<'static> = Path::root("status");

/// Checks a new Node.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check_taints(&mut errors, items(&object["spec"], "taints"));
    check_resources(&mut errors, &object["status"]);
    check_pod_cidrs(&mut errors, items(&object["spec"], "podCIDRs"));
    errors
}

/// Checks a changed Node, of its spec and of its status.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_resources(&mut errors, &new["status"]);
    check_addresses(&mut errors, items(&new["status"], "addresses"));
    let old_cidrs = items(&old["spec"], "podCIDRs");
    if !old_cidrs.is_empty() && old_cidrs != items(&new["spec"], "podCIDRs") {
        let words = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden(SPEC.child("podCIDRs"), words));
    }
    let (new_id, old_id) = (text(&new["spec"], "providerID"), text(&old["spec"], "providerID"));
    if !old_id.is_empty() && new_id != old_id {
        let words = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden(SPEC.child("providerID"), words));
    }
    check_taints(&mut errors, items(&new["spec"], "taints"));
    errors
}

fn check_taints(errors: &mut Errors, taints: &[Value]) {
    // Upstream names the path of a taint `spec.taints` on creation and `metadata.taints` on update;
    // the true path serves both.
    let path = SPEC.child("taints");
    let mut seen = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        let (key, value, effect) =
            (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        complain(errors, path.child("key"), key, names::qualified_name(key));
        let complaints = names::label_value(value);
        if !complaints.is_empty() {
            errors.push(FieldError::invalid(path.child("value"), value, complaints.join(";")));
        }
        if effect.is_empty() {
            errors.push(FieldError::required(path.child("effect"), ""));
        } else {
            check_taint_effect(errors, &path.child("effect"), effect);
        }
        if !seen.insert((key, effect)) {
            let mut error = FieldError::duplicate(path, taint);
            error.message.push_str(": taints must be unique by key and effect pair");
            errors.push(error);
        }
    }
}

fn check_resources(errors: &mut Errors, status: &Value) {
    for field in ["capacity", "allocatable"] {
        if has(status, field) {
            check_list(errors, &STATUS.child(field), &status[field], any_name);
        }
    }
}

fn check_addresses(errors: &mut Errors, addresses: &[Value]) {
    let path = STATUS.child("addresses");
    for (index, address) in addresses.iter().enumerate() {
        if addresses[..index].contains(address) {
            errors.push(FieldError::duplicate(path.index(index), address));
        }
    }
}

fn check_pod_cidrs(errors: &mut Errors, cidrs: &[Value]) {
    let path = SPEC.child("podCIDRs");
    for (index, cidr) in cidrs.iter().filter_map(Value::as_str).enumerate() {
        if !is_cidr(cidr) {
            let words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(path.index(index), cidr, words));
        }
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let bits_max = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= bits_max)
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn node(spec: Value, status: Value) -> Value {
        json!({"metadata": {"name": "n"}, "spec": spec, "status": status})
    }

    #[test]
    fn taints() {
        let taint = json!({"key": "a", "effect": "NoSchedule"});
        check(validate(&node(json!({"taints": [taint]}), json!({}))), &[]);
        check(
            validate(&node(
                json!({"taints": [taint, taint, {"key": "b", "effect": "Now"}]}),
                json!({}),
            )),
            &[
                "spec.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: taints must be unique by key and effect pair",
                "spec.taints[2].effect: Unsupported value: \"Now\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ],
        );
    }

    #[test]
    fn what_is_set_once_stays() {
        let old = node(json!({"podCIDRs": ["10.0.0.0/24"], "providerID": "x"}), json!({}));
        check(validate_update(&old, &old), &[]);
        let address = json!({"type": "InternalIP", "address": "1.2.3.4"});
        check(
            validate_update(
                &node(
                    json!({}),
                    json!({"addresses": [address, address], "capacity": {"cpu": "-1"}}),
                ),
                &old,
            ),
            &[
                "status.capacity[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "status.addresses[1]: Duplicate value: {\"address\":\"1.2.3.4\",\"type\":\"InternalIP\"}",
                "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
                "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
            ],
        );
    }
}
