//! Whether this host takes a pod that was bound to it: the scheduler's own check, done again where
//! it takes effect. Pure.
//!
//! *Source:* kubelet's admission handlers; the words are theirs.

use std::collections::BTreeMap;

use coracle_api::fit::{Lack, NodeCapacity, NodeState, PodRequest, fits};
use k8s_openapi::api::core::v1::{NodeStatus, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::pods::plan;
use crate::pods::state::PodVerdict;
use crate::pods::status::phase;
use crate::worker::Worker;

/// Judges a new pod beside those that are here; gives nothing when it may run.
pub(crate) fn judge<'a>(
    allocatable: &BTreeMap<String, String>,
    pod: &Pod,
    workers: impl Iterator<Item = &'a Worker>,
) -> Option<PodVerdict> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
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
        },
    }
}
