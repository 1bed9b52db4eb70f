//! DaemonSets: rolling updates, one node at a time.

use serde_json::Value;

use super::fill::{ensure, fill, fill_pointer, text};
use super::pod;

/// Fills a DaemonSet.
pub fn set(set: &mut Value) {
    let Some(spec) = set.get_mut("spec").and_then(Value::as_object_mut) else { return };
    pod::set_template(spec);
    fill_pointer(spec, "revisionHistoryLimit", 10);
    let Some(strategy) = ensure(spec, "updateStrategy") else { return };
    fill(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = ensure(strategy, "rollingUpdate")
    {
        fill_pointer(rolling, "maxUnavailable", 1);
        fill_pointer(rolling, "maxSurge", 0);
    }
}
