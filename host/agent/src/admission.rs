//! Whether this host takes a pod that was bound to it: the scheduler's own check, done again where
//! it takes effect. Pure.
//!
//! *Source:* kubelet's admission handlers; the words are theirs.

use std::collections::{BTreeMap, HashSet};

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

/// What the node says that it runs, so that manifests for Linux fit it.
const OS: &str = "linux";

/// What the pods that are here take of the node, counted as they come and go: looking at each of
/// thousands for each new one would take longer than to run it.
pub(crate) struct Room {
    node: NodeState,
    /// Uids of the pods that are counted.
    counted: HashSet<String>,
}

impl Room {
    /// An empty node.
    pub(crate) fn new(allocatable: &BTreeMap<String, String>) -> Self {
        Self { node: NodeState::new(capacity(allocatable)), counted: HashSet::new() }
    }

    /// Counts a pod as it is now: one that is condemned or has ended takes nothing.
    pub(crate) fn count(&mut self, worker: &Worker) {
        let ended = phase(&worker.pod, &worker.state).is_terminal();
        if worker.state.verdict.is_some() || ended {
            self.forget(worker);
        } else if self.counted.insert(worker.key.uid.clone()) {
            self.node.add(&worker.request);
        }
    }

    /// Counts a pod out that is gone.
    pub(crate) fn forget(&mut self, worker: &Worker) {
        if self.counted.remove(&worker.key.uid) {
            self.node.remove(&worker.request);
        }
    }
}

/// Judges a new pod beside those that are here; gives nothing when it may run.
pub(crate) fn judge(room: &Room, pressure: Shown, pod: &Pod) -> Option<PodVerdict> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if let Some(verdict) = foreign(plan::spec(pod)) {
        return Some(verdict);
    }
    if let Some(verdict) = pressed(pressure, pod) {
        return Some(verdict);
    }
    let request = PodRequest::from_spec(plan::spec(pod));
    let known = |lack: &Lack| !is_unknown_here(lack, &room.node);
    let lack = fits(&request, &room.node).into_iter().find(known)?;
    Some(verdict(&lack, &request, &room.node))
}

/// The verdict on a pod for another operating system than the node says that it has.
///
/// *Source:* kubelet's `rejectPodAdmissionBasedOnOSField`.
fn foreign(spec: &PodSpec) -> Option<PodVerdict> {
    spec.os.as_ref().filter(|os| os.name != OS)?;
    let message =
        "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS".into();
    Some(PodVerdict { reason: "PodOSNotSupported".into(), message, until: None })
}

/// Whether what lacks is a resource of somebody else that this host does not count: the scheduler does, by what the
/// Node object says.
///
/// *Source:* kubelet, which leaves out extended resources that its node does not have.
fn is_unknown_here(lack: &Lack, node: &NodeState) -> bool {
    match lack {
        Lack::Insufficient { resource } => {
            let domain = resource.split_once('/').map(|(domain, _)| domain);
            let is_extended = domain.is_some_and(|domain| !domain.ends_with("kubernetes.io"));
            is_extended && !node.capacity.resources.others.contains_key(&**resource)
        }
        Lack::TooManyPods | Lack::PortsInUse => false,
    }
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
    use std::sync::Arc;

    use jiff::Timestamp;
    use serde_json::json;

    use crate::pods::state::{PodEvent, PodState};

    #[track_caller]
    fn check(pressure: Shown, spec: serde_json::Value, expected: Option<&str>) {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "a", "resources": spec["resources"]}]);
        spec.as_object_mut().unwrap().remove("resources");
        let pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let allocatable =
            BTreeMap::from([("pods".into(), "9".into()), ("memory".into(), "1Gi".into())]);
        let verdict = judge(&Room::new(&allocatable), pressure, &pod);
        assert_eq!(verdict.map(|verdict| verdict.message).as_deref(), expected);
    }

    #[test]
    fn a_pod_for_another_system_is_not_taken() {
        let message = "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS";
        check(Shown::default(), json!({"os": {"name": "windows"}}), Some(message));
        check(Shown::default(), json!({"os": {"name": "linux"}}), None);
    }

    #[test]
    fn a_pod_takes_room_until_it_ends_and_once() {
        let pod = |name: &str| -> Arc<Pod> {
            let spec = json!({"containers": [{"name": "a", "ports": [{"hostPort": 80, "containerPort": 80}],
                "resources": {"requests": {"memory": "600Mi"}}}]});
            let meta = json!({"name": name, "uid": name});
            Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap())
        };
        let allocatable =
            BTreeMap::from([("pods".into(), "9".into()), ("memory".into(), "1Gi".into())]);
        let mut room = Room::new(&allocatable);
        let fits = |room: &Room| judge(room, Shown::default(), &pod("new")).is_none();
        let at = Timestamp::UNIX_EPOCH;
        let mut worker = Worker::new(pod("one"), PodState::new(&pod("one"), at), at);
        for _ in 0..2 {
            room.count(&worker);
            assert!(!fits(&room));
        }
        let verdict = too_late();
        worker.state.apply(&pod("one"), PodEvent::Condemned(verdict), at);
        for _ in 0..2 {
            room.count(&worker);
            assert!(fits(&room));
        }
        worker.state.verdict = None;
        room.count(&worker);
        assert!(!fits(&room));
        for _ in 0..2 {
            room.forget(&worker);
            assert!(fits(&room));
        }
        assert_eq!(room.node, NodeState::new(capacity(&allocatable)), "nothing is left");
    }

    #[test]
    fn a_resource_that_this_host_does_not_count_is_the_schedulers_affair() {
        let asks = |name: &str, amount: &str| json!({"resources": {"requests": {name: amount}}});
        check(Shown::default(), asks("example.com/toy", "2"), None);
        let words = |name: &str, requested: &str, capacity: &str| {
            format!(
                "Pod was rejected: Node didn't have enough resource: {name}, requested: {requested}, \
                 used: 0, capacity: {capacity}"
            )
        };
        let memory = words("memory", "2147483648", "1073741824");
        check(Shown::default(), asks("memory", "2Gi"), Some(&memory));
        let native = words("hugepages-2Mi", "1", "0");
        check(Shown::default(), asks("hugepages-2Mi", "1"), Some(&native));
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
