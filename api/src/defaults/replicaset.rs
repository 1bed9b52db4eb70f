//! ReplicaSets: one replica.

use serde_json::Value;

use super::fill::fill_pointer;
use super::pod;

/// Fills a ReplicaSet.
pub fn set(replica_set: &mut Value) {
    let Some(spec) = replica_set.get_mut("spec").and_then(Value::as_object_mut) else { return };
    pod::set_template(spec);
    fill_pointer(spec, "replicas", 1);
}
