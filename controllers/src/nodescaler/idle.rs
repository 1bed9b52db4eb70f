//! Whether a node could go: what it runs, and whether all of that has room elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_api::fit::{NodeCapacity, NodeState, PodRequest, fits};
use k8s_openapi::api::core::v1::{Node, Pod, Volume};
use kube::core::{Selector, SelectorExt};

use super::{KEPT, MARK, Observed, SAFE};
use crate::context::node_of;
use crate::daemonset::takes_pod;
use crate::objects::{annotation, controller_of, is_deleting, is_terminal, name, namespace};

/// A node of which more than this many hundredths of CPU or memory are requested is in use.
/// *Source:* cluster-autoscaler's `--scale-down-utilization-threshold`.
const IDLE_PERCENT_MAX: i64 = 50;

/// Annotation of pods that the host itself brought.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The nodes with their pods, and what each has left.
pub(super) struct Places<'a> {
    observed: &'a Observed,
    pods: BTreeMap<&'a str, Vec<&'a Arc<Pod>>>,
}

impl<'a> Places<'a> {
    pub(super) fn new(observed: &'a Observed) -> Places<'a> {
        let mut pods: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
        for pod in observed.pods.iter().filter(|pod| !is_terminal(pod)) {
            if let Some(node) = node_of(pod) {
                pods.entry(node).or_default().push(pod);
            }
        }
        Places { observed, pods }
    }

    /// The pods of a node that have to go before it can; those of DaemonSets and of the host itself go with it.
    pub(super) fn to_move(&self, node: &Node) -> Vec<&'a Arc<Pod>> {
        let all = self.pods.get(name(&node.metadata)).into_iter().flatten().copied();
        all.filter(|pod| !goes_with_its_host(pod)).collect()
    }

    /// Tells whether a node is idle: nobody needs it, and it may go.
    pub(super) fn is_idle(&self, node: &Node) -> bool {
        let pods = self.to_move(node);
        annotation(&node.metadata, KEPT) != Some("true")
            && is_ready(node)
            && !is_cordoned(node)
            && is_hardly_used(node, &pods)
            && pods.iter().all(|pod| may_move(pod))
            && self.budgets_allow(&pods)
            && self.fit_elsewhere(node, &pods)
    }

    /// Tells whether each budget of the pods allows an eviction now.
    fn budgets_allow(&self, pods: &[&Arc<Pod>]) -> bool {
        self.observed.budgets.iter().all(|budget| {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
            let selector = selector.and_then(|selector| Selector::try_from(selector).ok());
            let meant = |pod: &Pod| {
                let labels = pod.metadata.labels.clone().unwrap_or_default();
                namespace(&pod.metadata) == namespace(&budget.metadata)
                    && selector.as_ref().is_some_and(|selector| selector.matches(&labels))
            };
            let allowed = budget.status.as_ref().map_or(0, |status| status.disruptions_allowed);
            allowed > 0 || !pods.iter().any(|pod| meant(pod))
        })
    }

    /// Tries to put the pods onto the other nodes, one after the other.
    fn fit_elsewhere(&self, node: &Node, pods: &[&Arc<Pod>]) -> bool {
        let others = self.observed.nodes.iter().filter(|other| {
            name(&other.metadata) != name(&node.metadata) && is_ready(other) && !is_cordoned(other)
        });
        let mut others: Vec<(&Node, NodeState)> =
            others.map(|other| (&**other, self.state(other))).collect();
        pods.iter().all(|pod| {
            let Some(spec) = &pod.spec else { return true };
            let request = PodRequest::from_spec(spec);
            let place = others
                .iter_mut()
                .find(|(other, state)| takes_pod(spec, other) && fits(&request, state).is_empty());
            place.is_some_and(|(_, state)| {
                state.add(&request);
                true
            })
        })
    }

    fn state(&self, node: &Node) -> NodeState {
        let capacity = node.status.as_ref().map(NodeCapacity::from_status).unwrap_or_default();
        let mut state = NodeState::new(capacity);
        for pod in self.pods.get(name(&node.metadata)).into_iter().flatten() {
            pod.spec.as_ref().map(PodRequest::from_spec).iter().for_each(|one| state.add(one));
        }
        state
    }
}

/// Tells whether a node was marked by this controller.
pub(super) fn is_marked(node: &Node) -> bool {
    annotation(&node.metadata, MARK).is_some()
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one.type_ == "Ready" && one.status == "True")
        && !is_deleting(&node.metadata)
}

fn is_hardly_used(node: &Node, pods: &[&Arc<Pod>]) -> bool {
    let capacity = node.status.as_ref().map(NodeCapacity::from_status).unwrap_or_default();
    let requests: Vec<PodRequest> =
        pods.iter().filter_map(|pod| pod.spec.as_ref()).map(PodRequest::from_spec).collect();
    ["cpu", "memory"].into_iter().all(|resource| {
        let used: i64 = requests.iter().map(|request| request.resources.get(resource)).sum();
        used.saturating_mul(100)
            <= capacity.resources.get(resource).saturating_mul(IDLE_PERCENT_MAX)
    })
}

fn goes_with_its_host(pod: &Pod) -> bool {
    annotation(&pod.metadata, MIRROR).is_some()
        || controller_of(&pod.metadata).is_some_and(|owner| owner.kind == "DaemonSet")
}

/// A pod that nobody would make again stays, and one that would lose what it wrote on the host.
fn may_move(pod: &Pod) -> bool {
    match annotation(&pod.metadata, SAFE) {
        Some("true") => return true,
        Some("false") => return false,
        Some(_) | None => {}
    }
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let is_local = |volume: &Volume| volume.empty_dir.is_some() || volume.host_path.is_some();
    controller_of(&pod.metadata).is_some() && !volumes.into_iter().flatten().any(is_local)
}
