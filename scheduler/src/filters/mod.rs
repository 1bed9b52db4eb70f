//! The questions that a node must all pass to take a pod, in upstream's order.
//!
//! A filter is a pure function of one decision's view of the cluster and one node. It says why it refuses in upstream's words,
//! and whether removing other pods could help.
//! *Source:* `pkg/scheduler/framework/plugins`.

mod affinity;
mod claims;
mod node_name;
mod pod_affinity;
mod ports;
mod resources;
mod spread;
mod taints;
mod unschedulable;
mod volumes;

pub(crate) use affinity::{allows as affinity_allows, restricts as restricts_nodes, term_matches};
pub use taints::tolerates;
pub(crate) use taints::{named as named_taints, tolerates_binding as tolerates_binding_taints};

use std::borrow::Cow;
use std::fmt;

use crate::cycle::Cycle;
use crate::node_info::NodeInfo;

/// Which filter refused; what must change before the pod is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The node takes no more pods.
    Unschedulable,
    /// The pod names another node.
    NodeName,
    /// A taint that the pod does not tolerate.
    Taints,
    /// Labels that the pod asks for.
    Affinity,
    /// Ports of the host.
    Ports,
    /// Resources or the number of pods.
    Resources,
    /// An uneven distribution over places.
    Spread,
    /// Pods that are near or not near.
    PodAffinity,
    /// Claims, and where their volumes are.
    Volumes,
    /// Devices that the pod claims.
    Claims,
    /// Too few pods of a group that is placed together.
    Group,
}

impl Cause {
    /// All causes.
    pub const ALL: [Cause; 11] = [
        Cause::Unschedulable,
        Cause::NodeName,
        Cause::Taints,
        Cause::Affinity,
        Cause::Ports,
        Cause::Resources,
        Cause::Spread,
        Cause::PodAffinity,
        Cause::Volumes,
        Cause::Claims,
        Cause::Group,
    ];
}

impl fmt::Display for Cause {
    /// Writes upstream's name of the plugin that refuses for this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Unschedulable => "NodeUnschedulable",
            Cause::NodeName => "NodeName",
            Cause::Taints => "TaintToleration",
            Cause::Affinity => "NodeAffinity",
            Cause::Ports => "NodePorts",
            Cause::Resources => "NodeResourcesFit",
            Cause::Spread => "PodTopologySpread",
            Cause::PodAffinity => "InterPodAffinity",
            Cause::Volumes => "VolumeBinding",
            Cause::Claims => "DynamicResources",
            Cause::Group => "Coscheduling",
        })
    }
}

/// Why a node does not take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which filter refused.
    pub cause: Cause,
    /// Its reasons in upstream's words, at least one.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether the node could take the pod if other pods went.
    pub preemption_may_help: bool,
}

impl Refusal {
    fn final_one(cause: Cause, reason: &'static str) -> Option<Refusal> {
        let reasons = vec![Cow::Borrowed(reason)];
        Some(Refusal { cause, reasons, preemption_may_help: false })
    }
}

type Filter = fn(&Cycle<'_>, &NodeInfo) -> Option<Refusal>;

const FILTERS: [Filter; 10] = [
    unschedulable::check,
    node_name::check,
    taints::check,
    affinity::check,
    ports::check,
    resources::check,
    volumes::check,
    claims::check,
    spread::check,
    pod_affinity::check,
];

/// Gives the first refusal of a node, `None` when it takes the pod.
///
/// Room that is kept on the node for pods that must not be overtaken counts as taken.
pub(crate) fn refusal(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    if cycle.snapshot.has_nominated()
        && let Some(refusal) = with_nominated(cycle, node)
    {
        return Some(refusal);
    }
    alone(cycle, node)
}

/// Gives the first refusal of a node, without regard to room that is kept.
pub(crate) fn alone(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    FILTERS.iter().find_map(|filter| filter(cycle, node))
}

fn with_nominated(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    let waiting: Vec<_> = cycle.snapshot.nominated_before(&node.name, cycle.pod).collect();
    if waiting.is_empty() {
        return None;
    }
    let (mut fuller, mut known) = (cycle.clone(), node.clone());
    let place = cycle.snapshot.in_slot(node.slot);
    for pod in waiting {
        fuller.add(pod, place);
        known.add(std::sync::Arc::clone(pod));
    }
    alone(&fuller, &known)
}

#[cfg(test)]
mod tests;
