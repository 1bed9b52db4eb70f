//! Which node for this pod: filter, score, choose. Pure: same input, same decision.

use crate::cycle::Cycle;
use crate::filters::{Cause, Refusal, named_taints, refusal};
use crate::fit_error::FitError;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::preempt::{Preemption, preempt};
use crate::scores;
use crate::snapshot::Snapshot;

/// Nodes that would do after which the search ends. The best of a hundred is nearly as good as the
/// best of all, and a decision costs the same in a cluster of any size. (Upstream's default is a
/// share of the nodes that falls from 50 to 5 %; `percentageOfNodesToScore` is meant for this.)
const FEASIBLE_NODES_MAX: usize = 100;

/// What to do with a pod.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Bind it to this node.
    Assign {
        /// Name of the node.
        node: String,
    },
    /// Displace pods of lower priority, and try again when they are gone.
    Preempt {
        /// Which pods, where.
        preemption: Preemption,
        /// Why no node takes it now.
        error: FitError,
    },
    /// Leave it until something changes.
    Unschedulable(FitError),
}

/// Decides where a pod goes.
///
/// `seed` chooses among equally good nodes, and in clusters of a hundred nodes and more where to
/// begin looking, because there it is enough to find some that do. A pod for which others are
/// leaving already displaces no more.
pub fn schedule(snapshot: &Snapshot, pod: &PodInfo, seed: u64) -> Decision {
    schedule_from(snapshot, pod, seed, seed)
}

/// As [`schedule`], with one number for where to begin looking and another for the choice among equals.
pub(crate) fn schedule_from(snapshot: &Snapshot, pod: &PodInfo, start: u64, seed: u64) -> Decision {
    let number = snapshot.nodes().len();
    let cycle = Cycle::new(snapshot, pod);
    let mut error = FitError::new(number, pod.may_preempt());
    let mut feasible: Vec<&NodeInfo> = vec![];
    let mut helped: Vec<&NodeInfo> = vec![];
    for node in snapshot.nodes_from(index(start, number)) {
        match refusal(&cycle, node) {
            None => feasible.push(node),
            Some(refusal) => {
                if refusal.preemption_may_help {
                    helped.push(node);
                }
                error.count(refusal);
            }
        }
        if feasible.len() == FEASIBLE_NODES_MAX {
            break;
        }
    }
    if let Some(node) = best(&cycle, &feasible, seed) {
        return Decision::Assign { node: node.name.clone() };
    }
    if !pod.may_preempt() || is_awaited(snapshot, pod) {
        return Decision::Unschedulable(error);
    }
    match preempt(&cycle, &helped, &mut error) {
        Some(preemption) => {
            error.preemption.clear();
            Decision::Preempt { preemption, error }
        }
        None => Decision::Unschedulable(error),
    }
}

/// Tells whether pods of lower priority are on their way out for this pod, on a node that would take it then. A node that
/// is lost, cordoned or tainted meanwhile is not waited for: its pods may never end.
/// *Source:* `PodEligibleToPreemptOthers` of upstream's default preemption.
pub(crate) fn is_awaited(snapshot: &Snapshot, pod: &PodInfo) -> bool {
    let node = snapshot.nomination_of(pod.uid()).and_then(|name| snapshot.node(name));
    node.is_some_and(|node| {
        let ending = |placed: &PodInfo| placed.pod.metadata.deletion_timestamp.is_some();
        node.pods.values().any(|placed| placed.priority() < pod.priority() && ending(placed))
            && is_hopeful(snapshot, pod, node)
    })
}

/// Tells whether a node takes a pod, or would if others left it.
pub(crate) fn is_hopeful(snapshot: &Snapshot, pod: &PodInfo, node: &NodeInfo) -> bool {
    node.node.is_some()
        && refusal(&Cycle::new(snapshot, pod), node)
            .is_none_or(|refusal| refusal.preemption_may_help)
}

fn best<'a>(cycle: &Cycle<'_>, feasible: &[&'a NodeInfo], seed: u64) -> Option<&'a NodeInfo> {
    if feasible.len() < 2 {
        return feasible.first().copied();
    }
    let totals = scores::totals(cycle, feasible);
    let highest = totals.iter().copied().max()?;
    let best = feasible.iter().zip(&totals).filter(|(_, total)| **total == highest);
    let mut ties: Vec<&NodeInfo> = best.map(|(node, _)| *node).collect();
    let chosen = index(seed, ties.len());
    if chosen >= ties.len() {
        return None;
    }
    // Counted by name: it must not depend on where the search began, or one seed would serve two choices.
    let (_, node, _) = ties.select_nth_unstable_by(chosen, |a, b| a.name.cmp(&b.name));
    Some(*node)
}

fn index(seed: u64, length: usize) -> usize {
    let length = u64::try_from(length).unwrap_or(u64::MAX).max(1);
    usize::try_from(seed % length).unwrap_or_default()
}

/// What is said of one node when a decision is explained.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Name of the node.
    pub node: String,
    /// Why it does not take the pod, if it does not; taints by their names.
    pub refusal: Option<Refusal>,
    /// The weighted score of each kind by upstream's name of the plugin; none for a node that
    /// refuses.
    pub scores: Vec<(&'static str, i64)>,
}

/// Says of every node, in the order of their names, why it refuses a pod or how good it is.
pub fn explain(snapshot: &Snapshot, pod: &PodInfo) -> Vec<Verdict> {
    let cycle = Cycle::new(snapshot, pod);
    let mut nodes: Vec<&NodeInfo> = snapshot.nodes().collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let feasible: Vec<&NodeInfo> =
        nodes.iter().copied().filter(|node| refusal(&cycle, node).is_none()).collect();
    let mut scores = scores::by_name(&cycle, &feasible).into_iter();
    let verdict = |node: &NodeInfo| {
        let mut refusal = refusal(&cycle, node);
        if let Some(refusal) = &mut refusal
            && refusal.cause == Cause::Taints
        {
            refusal.reasons = named_taints(pod, node);
        }
        let scores = if refusal.is_none() { scores.next() } else { None };
        Verdict { node: node.name.clone(), refusal, scores: scores.unwrap_or_default() }
    };
    nodes.into_iter().map(verdict).collect()
}

#[cfg(test)]
mod tests;
