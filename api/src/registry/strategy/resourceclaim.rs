//! What drivers say of the devices of a claim goes with the devices.

use std::collections::HashSet;

use serde_json::Value;

use super::status_only;
use crate::validate::device::{Identity, identity};

/// Takes nothing but `status`, and from that what is told of devices which are given back by this very update: whoever
/// gives them back need not know that something is told of them.
///
/// *Source:* KEP-4817; `dropDeallocatedStatusDevices` of kube-apiserver in behaviour.
pub fn update_status(new: &mut Value, old: &Value) {
    status_only(new, old);
    let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) else { return };
    let now: HashSet<Identity<'_>> =
        status.get("allocation").into_iter().flat_map(devices).collect();
    let gone: HashSet<Identity<'_>> =
        devices(&old["status"]["allocation"]).filter(|id| !now.contains(id)).collect();
    let Some(told) = status.get_mut("devices").and_then(Value::as_array_mut) else { return };
    told.retain(|device| !gone.contains(&identity(device)));
    if told.is_empty() {
        status.remove("devices");
    }
}

fn devices(allocation: &Value) -> impl Iterator<Item = Identity<'_>> {
    allocation["devices"]["results"].as_array().into_iter().flatten().map(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;
    use serde_json::json;

    /// Has two devices of which something is told; gives a new status, and compares what is left with what is refused.
    fn check(allocated: &[&str], told: &[&str], left: &[&str], refused: usize) {
        let device =
            |share: &&str| json!({"driver": "d", "pool": "p", "device": "gpu", "shareID": share});
        let told_of = |shares: &[&str]| -> Value { shares.iter().map(device).collect() };
        let status = |allocated: &[&str], told: &[&str]| {
            let mut status = json!({"devices": told_of(told)});
            if !allocated.is_empty() {
                status["allocation"] = json!({"devices": {"results": told_of(allocated)}});
            }
            json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {}, "status": status})
        };
        let old = status(&["one", "two"], &["one", "two"]);
        let mut new = status(allocated, told);
        let kind = registry::by_kind("resource.k8s.io", "v1", "ResourceClaim").unwrap();
        (kind.rules.prepare_status_update)(&mut new, &old);
        let expected = if left.is_empty() { Value::Null } else { told_of(left) };
        assert_eq!(new["status"]["devices"], expected, "{allocated:?} {told:?}");
        let found = kind.validate_status_update(&new, &old);
        assert_eq!(found.len(), refused, "{found:?}");
    }

    #[test]
    fn nothing_is_told_of_devices_that_are_given_back() {
        check(&["one", "two"], &["one", "two"], &["one", "two"], 0);
        check(&["one", "two"], &[], &[], 0);
        check(&[], &["one", "two"], &[], 0);
        // One that never was allocated is a mistake, and stays to be refused.
        check(&[], &["one", "three"], &["three"], 1);
        // What is allocated cannot change, but what is told follows it.
        check(&["one"], &["one", "two"], &["one"], 1);
    }
}
