//! StatefulSets: one replica after the other, claims that stay.

use serde_json::{Value, json};

use super::fill::{ensure, fill, fill_pointer, items, text};
use super::{pod, volumeclaim};

/// Fills a StatefulSet.
pub fn set(set: &mut Value) {
    let Some(spec) = set.get_mut("spec").and_then(Value::as_object_mut) else { return };
    pod::set_template(spec);
    fill(spec, "podManagementPolicy", "OrderedReady");
    fill_pointer(spec, "replicas", 1);
    fill_pointer(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = ensure(spec, "updateStrategy") {
        fill(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = ensure(strategy, "rollingUpdate")
        {
            fill_pointer(rolling, "partition", 0);
        }
    }
    if let Some(policy) = ensure(spec, "persistentVolumeClaimRetentionPolicy") {
        fill(policy, "whenDeleted", "Retain");
        fill(policy, "whenScaled", "Retain");
    }
    for template in items(spec, "volumeClaimTemplates") {
        template.insert("apiVersion".to_owned(), json!("v1"));
        template.insert("kind".to_owned(), json!("PersistentVolumeClaim"));
        volumeclaim::set_members(template);
    }
}
