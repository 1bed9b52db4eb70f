//! The questions that a node must all pass to take a pod, in upstream's order.
//!
//! A filter is a pure function of one pod and one node. It says why it refuses in upstream's words,
//! and whether removing other pods could help.
//! *Source:* `pkg/scheduler/framework/plugins`.

mod affinity;
mod node_name;
mod ports;
mod resources;
mod taints;
mod unschedulable;

pub(crate) use affinity::term_matches;
pub use taints::tolerates;

use std::borrow::Cow;

use crate::pod_info::PodInfo;
use crate::snapshot::NodeInfo;

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
}

impl Cause {
    /// All causes.
    pub const ALL: [Cause; 6] = [
        Cause::Unschedulable,
        Cause::NodeName,
        Cause::Taints,
        Cause::Affinity,
        Cause::Ports,
        Cause::Resources,
    ];
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

type Filter = fn(&PodInfo, &NodeInfo) -> Option<Refusal>;

const FILTERS: [Filter; 6] = [
    unschedulable::check,
    node_name::check,
    taints::check,
    affinity::check,
    ports::check,
    resources::check,
];

/// Gives the first refusal of a node, `None` when it takes the pod.
pub fn refusal(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    FILTERS.iter().find_map(|filter| filter(pod, node))
}

#[cfg(test)]
mod tests;
