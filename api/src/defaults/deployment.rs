//! Deployments: one replica, rolling updates in quarters.

use serde_json::Value;

use super::fill::{ensure, fill, fill_pointer, text};
use super::pod;

/// Fills a Deployment.
pub fn set(deployment: &mut Value) {
    let Some(spec) = deployment.get_mut("spec").and_then(Value::as_object_mut) else { return };
    pod::set_template(spec);
    fill_pointer(spec, "replicas", 1);
    fill_pointer(spec, "revisionHistoryLimit", 10);
    fill_pointer(spec, "progressDeadlineSeconds", 600);
    let Some(strategy) = ensure(spec, "strategy") else { return };
    fill(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = ensure(strategy, "rollingUpdate")
    {
        fill_pointer(rolling, "maxUnavailable", "25%");
        fill_pointer(rolling, "maxSurge", "25%");
    }
}
