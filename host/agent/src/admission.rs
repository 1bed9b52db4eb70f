//! Whether this host takes a pod that was bound to it: the scheduler's own check, done again where
//! it takes effect. Pure.
//!
//! *Source:* kubelet's admission handlers; the words are theirs.

use std::collections::BTreeMap;

use coracle_api::fit::{Lack, NodeCapacity, NodeState, PodRequest, fits};
use k8s_openapi::api::core::v1::{NodeStatus, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::eviction::rank::is_spared;
use crate::eviction::signals::Shown;
use crate::pods::plan;
use crate::pods::qos::class;
use crate::pods::shutdown::{NODE_SHUTDOWN, NODE_SHUTDOWN_MESSAGE};
use crate::pods::state::PodVerdict;
use crate::pods::status::phase;
use crate::worker::Worker;

/// Judges a new pod beside those that are here; gives nothing when it may run.
pub(crate) fn judge<'a>(
    allocatable: &BTreeMap<String, String>,
    pressure: Shown,
    pod: &Pod,
    workers: impl Iterator<Item = &'a Worker>,
) -> Option<PodVerdict> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if let Some(verdict) = pressed(pressure, pod) {
        return Some(verdict);
    }
    let mut node = NodeState::new(capacity(allocatable));
    for worker in workers {
        let ended = phase(&worker.pod, &worker.state).is_terminal();
        if worker.state.verdict.is_none() && !ended {
            node.add(&worker.request);
        }
    }
    let request = PodRequest::from_spec(plan::spec(pod));
    let lack = fits(&request, &node).into_iter().next()?;
    Some(verdict(&lack, &request, &node))
}

/// The verdict on a pod that comes while the node shuts down.
pub(crate) fn too_late() -> PodVerdict {
    let message = NODE_SHUTDOWN_MESSAGE.into();
    PodVerdict { reason: NODE_SHUTDOWN.into(), message, until: None }
}

/// Under pressure a node takes only what must run, and short of memory also what has asked for some.
///
/// *Source:* kubelet's eviction manager as an admission handler.
fn pressed(pressure: Shown, pod: &Pod) -> Option<PodVerdict> {
    let rows = [
        (pressure.disk, "DiskPressure"),
        (pressure.memory, "MemoryPressure"),
        (pressure.pids, "PIDPressure"),
    ];
    let words: Vec<&str> = rows.iter().filter(|(there, _)| *there).map(|(_, word)| *word).collect();
    if words.is_empty() || is_spared(pod) {
        return None;
    }
    let spec = plan::spec(pod);
    if words == ["MemoryPressure"] && (class(spec) != "BestEffort" || bears_memory_pressure(spec)) {
        return None;
    }
    let message = format!("Pod was rejected: The node had condition: [{}]. ", words.join(" "));
    Some(PodVerdict { reason: "Evicted".into(), message, until: None })
}

fn bears_memory_pressure(spec: &PodSpec) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| {
        let key = toleration.key.as_deref().unwrap_or_default();
        let effect = toleration.effect.as_deref().unwrap_or_default();
        let exists = toleration.operator.as_deref() == Some("Exists");
        (key == "node.kubernetes.io/memory-pressure" || key.is_empty() && exists)
            && (effect.is_empty() || effect == "NoSchedule")
    })
}

fn capacity(allocatable: &BTreeMap<String, String>) -> NodeCapacity {
    let quantity = |(name, text): (&String, &String)| (name.clone(), Quantity(text.clone()));
    NodeCapacity::from_status(&NodeStatus {
        allocatable: Some(allocatable.iter().map(quantity).collect()),
        ..NodeStatus::default()
    })
}

fn verdict(lack: &Lack, request: &PodRequest, node: &NodeState) -> PodVerdict {
    let out_of = |resource: &str, requested: i64, used: i64, capacity: i64| PodVerdict {
        reason: format!("OutOf{resource}"),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: {resource}, requested: {requested}, \
             used: {used}, capacity: {capacity}"
        ),
        until: None,
    };
    match lack {
        Lack::TooManyPods => out_of("pods", 1, node.pods, node.capacity.pods),
        Lack::Insufficient { resource } => out_of(
            resource,
            request.resources.get(resource),
            node.requested.get(resource),
            node.capacity.resources.get(resource),
        ),
        Lack::PortsInUse => PodVerdict {
            reason: "NodePorts".into(),
            message:
                "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports \
                      for the requested pod ports"
                    .into(),
            until: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(pressure: Shown, spec: serde_json::Value, expected: Option<&str>) {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "a", "resources": spec["resources"]}]);
        spec.as_object_mut().unwrap().remove("resources");
        let pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let allocatable =
            BTreeMap::from([("pods".into(), "9".into()), ("memory".into(), "1Gi".into())]);
        let verdict = judge(&allocatable, pressure, &pod, std::iter::empty());
        assert_eq!(verdict.map(|verdict| verdict.message).as_deref(), expected);
    }

    #[test]
    fn a_node_under_pressure_takes_little() {
        let memory = Shown { memory: true, ..Shown::default() };
        let both = Shown { disk: true, ..memory };
        let asks = json!({"resources": {"requests": {"memory": "1Mi"}}});
        let plain = || json!({"resources": {}});
        check(Shown::default(), plain(), None);
        check(
            memory,
            plain(),
            Some("Pod was rejected: The node had condition: [MemoryPressure]. "),
        );
        check(memory, asks.clone(), None);
        let bears = json!({"resources": {}, "tolerations": [{"operator": "Exists"}]});
        check(memory, bears, None);
        let words = "Pod was rejected: The node had condition: [DiskPressure MemoryPressure]. ";
        check(both, asks, Some(words));
        check(both, json!({"resources": {}, "priority": 2_000_000_001}), None);
    }
}
