//! Pods have the region and the zone of their node among their labels, so that they are counted and selected by them.
//!
//! *Source:* KEP-4742, the `PodTopologyLabels` admission plugin, on by default since 1.35.

use super::{Operation, Request};
use crate::cache::Caches;
use coracle_api::meta;
use coracle_api::selector::Labels as _;
use serde_json::Value;

/// The labels of a node that its pods get.
const LABELS: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

/// Labels a new pod that names its node already.
pub(super) fn admit(request: &Request<'_>, object: &mut Value, caches: &Caches) {
    if !request.is_core("Pod") || request.operation != Operation::Create {
        return;
    }
    let node = object["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    label(object, &node, caches);
}

/// Gives an object the labels of a node, over its own; none for a node that is not there.
pub(crate) fn label(object: &mut Value, node: &str, caches: &Caches) {
    if node.is_empty() {
        return;
    }
    let Some(node) = caches.get("", "nodes", "", node) else { return };
    for key in LABELS {
        if let Some(value) = node.header.label(key) {
            meta::set_label(object, key, value);
        }
    }
}
