//! Rules for the status of ResourceClaims: what was allocated, to whom it is given, and what drivers say of it.
//!
//! *Source:* `validateResourceClaimStatusUpdate`.

use std::collections::HashSet;

use serde_json::Value;

use super::super::csinode::check_driver_name;
use super::super::pod::check_node_selector;
use super::super::{Errors, has, immutable, items, text};
use super::claim::{check_reference, check_references};
use super::{
    Age, CONFIGURATIONS_MAX, REQUESTS_MAX, check_configuration, check_label, check_object,
    check_pool, each, once,
};
use crate::field_error::{FieldError, Path};

const STATUS: Path<'static> = Path::root("status");

/// Most pods and others that one claim is given to.
const CONSUMERS_MAX: usize = 256;

/// Most conditions of a device.
const CONDITIONS_MAX: usize = 8;

/// A device as drivers name it, with the share of it.
pub(crate) type Identity<'a> = [&'a str; 4];

/// Gives the identity of a device that is allocated, or of which something is told.
pub(crate) fn identity(device: &Value) -> Identity<'_> {
    ["driver", "pool", "device", "shareID"].map(|field| text(device, field))
}

/// Checks the status of a claim against what it was.
pub(super) fn check(errors: &mut Errors, claim: &Value, old: &Value) {
    let status = &claim["status"];
    let consumers = items(status, "reservedFor");
    let path = STATUS.child("reservedFor");
    each(errors, &path, consumers, CONSUMERS_MAX, |errors, path, consumer| {
        for field in ["resource", "name", "uid"] {
            if text(consumer, field).is_empty() {
                errors.push(FieldError::required(path.child(field), ""));
            }
        }
    });
    if consumers.len() <= CONSUMERS_MAX {
        once(errors, &path, consumers, |consumer| text(consumer, "uid"));
    }
    check_devices(errors, status);
    if !consumers.is_empty() && !has(status, "allocation") {
        let words = "may not be specified when `allocated` is not set";
        errors.push(FieldError::forbidden(path, words));
    } else if has(&claim["metadata"], "deletionTimestamp")
        && consumers.iter().any(|consumer| !items(old, "reservedFor").contains(consumer))
    {
        let words = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        errors.push(FieldError::forbidden(path, words));
    }
    let path = STATUS.child("allocation");
    if has(old, "allocation") && has(status, "allocation") {
        immutable(errors, path, &status["allocation"], &old["allocation"]);
    } else if has(status, "allocation") {
        check_allocation(errors, &path, &status["allocation"], &claim["spec"]["devices"]);
    }
}

fn check_devices(errors: &mut Errors, status: &Value) {
    let path = STATUS.child("devices");
    let allocated: HashSet<Identity<'_>> =
        items(&status["allocation"]["devices"], "results").iter().map(identity).collect();
    let mut seen = HashSet::new();
    for (index, device) in items(status, "devices").iter().enumerate() {
        let path = path.index(index);
        check_driver_name(errors, &path.child("driver"), text(device, "driver"));
        check_pool(errors, &path.child("pool"), text(device, "pool"));
        check_label(errors, &path.child("device"), text(device, "device"));
        let id = identity(device);
        let shown =
            id.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/");
        if !allocated.contains(&id) {
            let words = "must be an allocated device in the claim";
            errors.push(FieldError::invalid(path, &shown, words));
        }
        let conditions = items(device, "conditions").len();
        if conditions > CONDITIONS_MAX {
            let path = path.child("conditions");
            errors.push(FieldError::too_many(path, conditions, CONDITIONS_MAX));
        }
        if has(device, "data") {
            check_object(errors, &path.child("data"), &device["data"], Age::New);
        }
        if !seen.insert(id) {
            errors.push(FieldError::duplicate(path, &shown));
        }
    }
}

fn check_allocation(errors: &mut Errors, path: &Path<'_>, allocation: &Value, asked: &Value) {
    let devices = &allocation["devices"];
    let of_devices = path.child("devices");
    let results = of_devices.child("results");
    each(errors, &results, items(devices, "results"), REQUESTS_MAX, |errors, path, result| {
        check_reference(errors, &path.child("request"), text(result, "request"), asked);
        check_driver_name(errors, &path.child("driver"), text(result, "driver"));
        check_pool(errors, &path.child("pool"), text(result, "pool"));
        check_label(errors, &path.child("device"), text(result, "device"));
    });
    let config = of_devices.child("config");
    let max = 2 * CONFIGURATIONS_MAX;
    each(errors, &config, items(devices, "config"), max, |errors, path, configuration| {
        let (source, known) = (text(configuration, "source"), ["FromClaim", "FromClass"]);
        super::super::one_of(errors, path.child("source"), source, &known);
        check_references(errors, &path.child("requests"), configuration, asked);
        check_configuration(errors, path, configuration, Age::New);
    });
    if has(allocation, "nodeSelector") {
        check_node_selector(errors, &path.child("nodeSelector"), &allocation["nodeSelector"]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::claim::validate_status_update;
    use serde_json::{Value, json};

    fn claim(status: Value) -> Value {
        json!({"metadata": {"name": "a", "namespace": "b"}, "status": status,
            "spec": {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "c"}}]}}})
    }

    fn check(new: Value, old: Value, expected: &[&str]) {
        testing::check(validate_status_update(&claim(new), &claim(old)), expected);
    }

    #[test]
    fn what_was_allocated() {
        let result = json!({"request": "gpu", "driver": "d", "pool": "p/q", "device": "gpu-0"});
        let given = json!({"devices": {"results": [result]}});
        let pod = json!({"resource": "pods", "name": "p", "uid": "u"});
        check(json!({"allocation": given, "reservedFor": [pod]}), json!({}), &[]);
        check(
            json!({"reservedFor": [pod, pod, {"resource": "pods"}]}),
            json!({}),
            &[
                "status.reservedFor[2].name: Required value",
                "status.reservedFor[2].uid: Required value",
                "status.reservedFor[1]: Duplicate value: \"u\"",
                "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
            ],
        );
        check(
            json!({"allocation": {"devices": {"results": [{"request": "tpu", "driver": "", "pool": "", "device": "x"}]}}}),
            json!({}),
            &[
                "status.allocation.devices.results[0].request: Invalid value: \"tpu\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
                "status.allocation.devices.results[0].driver: Required value",
                "status.allocation.devices.results[0].pool: Required value",
            ],
        );
        check(
            json!({"allocation": {"devices": {}}}),
            json!({"allocation": given}),
            &["status.allocation: Invalid value: {\"devices\":{}}: field is immutable"],
        );
        check(
            json!({"allocation": given, "devices": [{"driver": "d", "pool": "p", "device": "gpu-0"}]}),
            json!({"allocation": given}),
            &[
                "status.devices[0]: Invalid value: \"d/p/gpu-0\": must be an allocated device in the claim",
            ],
        );
    }
}
