//! What the scheduler needs to know of a pod, worked out once when the pod is seen.

use std::sync::Arc;

use coracle_api::fit::PodRequest;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};

use crate::groups::Group;
use crate::terms::{self, Terms};

/// A pod with its requests summed up.
#[derive(Debug, Clone)]
pub struct PodInfo {
    /// The pod as it was seen last.
    pub pod: Arc<Pod>,
    /// What it asks of its node.
    pub request: PodRequest,
    /// What it asks about other pods.
    pub terms: Terms,
    /// Equal for pods that look alike to every selector and ask the same about other pods.
    pub class: Arc<str>,
    /// The pods that it is placed together with.
    pub group: Option<Group>,
}

impl PodInfo {
    /// Sums a pod up.
    pub fn new(pod: Arc<Pod>) -> Self {
        let request = pod.spec.as_ref().map(PodRequest::from_spec).unwrap_or_default();
        let (terms, class) = (Terms::of(&pod), class_of(&pod).into());
        let group = Group::of(&pod);
        PodInfo { pod, request, terms, class, group }
    }

    /// Gives the uid, empty when the server has not given one.
    pub fn uid(&self) -> &str {
        uid(&self.pod)
    }

    /// Gives the spec; a pod without one is not valid and never comes from the server.
    pub fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    /// Gives the tolerations.
    pub fn tolerations(&self) -> &[Toleration] {
        self.spec().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
    }

    /// Gives the priority; higher goes first.
    pub fn priority(&self) -> i32 {
        priority(&self.pod)
    }

    /// Tells whether this pod would displace others if it could.
    pub fn may_preempt(&self) -> bool {
        self.spec().and_then(|spec| spec.preemption_policy.as_deref()) != Some("Never")
    }
}

/// Writes down what tells classes apart: namespace, controller, whether the pod is ending, labels,
/// and affinity to pods.
fn class_of(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let about_pods = affinity.map(|affinity| (&affinity.pod_affinity, &affinity.pod_anti_affinity));
    let about_pods = about_pods.filter(|(near, apart)| near.is_some() || apart.is_some());
    serde_json::json!([
        metadata.namespace,
        terms::controller_uid(pod),
        metadata.deletion_timestamp.is_some(),
        metadata.labels,
        about_pods,
    ])
    .to_string()
}

/// Gives the uid of a pod, empty when the server has not given one.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Gives the node of a pod, `None` while it has none.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Gives the priority of a pod.
pub fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default()
}

/// Tells whether a pod has ended for good and holds nothing of its node any more.
pub fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Gives the name of the scheduler that a pod asks for.
pub fn scheduler_name(pod: &Pod) -> &str {
    let named = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
    named.filter(|name| !name.is_empty()).unwrap_or(crate::SCHEDULER_NAME_DEFAULT)
}

/// Tells whether a pod waits for a scheduler: without a node, alive, not gated.
pub fn is_pending(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    node_name(pod).is_none()
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
        && pod.metadata.deletion_timestamp.is_none()
        && !is_terminal(pod)
}

/// Tells whether two states of a pod look alike to the scheduler: only the status differs.
pub fn schedules_alike(old: &Pod, new: &Pod) -> bool {
    old.spec == new.spec
        && old.metadata.labels == new.metadata.labels
        && old.metadata.annotations == new.metadata.annotations
}
