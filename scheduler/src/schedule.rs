//! Which node for this pod: filter, score, choose. Pure: same input, same decision.

use crate::filters::{Refusal, refusal};
use crate::fit_error::FitError;
use crate::pod_info::PodInfo;
use crate::scores;
use crate::snapshot::{NodeInfo, Snapshot};

/// Nodes that are always looked at; a smaller cluster is looked at whole.
const FEASIBLE_NODES_MIN: usize = 100;

/// Smallest part of a large cluster that is looked at, in hundredths.
const NODES_PERCENT_MIN: usize = 5;

/// What to do with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Bind it to this node.
    Assign {
        /// Name of the node.
        node: String,
    },
    /// Leave it until something changes.
    Unschedulable(FitError),
}

/// Decides where a pod goes.
///
/// `seed` chooses among equally good nodes, and in clusters of a hundred nodes and more where to
/// begin looking, because there it is enough to find some that do.
pub fn schedule(snapshot: &Snapshot, pod: &PodInfo, seed: u64) -> Decision {
    let nodes: Vec<&NodeInfo> = snapshot.nodes().collect();
    let mut error = FitError::new(nodes.len(), pod.may_preempt());
    let wanted = feasible_nodes_wanted(nodes.len());
    let start = index(seed, nodes.len());
    let mut feasible: Vec<&NodeInfo> = vec![];
    for node in nodes[start..].iter().chain(&nodes[..start]) {
        match refusal(pod, node) {
            None => feasible.push(node),
            Some(refusal) => count(&mut error, refusal, pod, node),
        }
        if feasible.len() == wanted {
            break;
        }
    }
    match best(pod, &feasible, seed) {
        Some(node) => Decision::Assign { node: node.name().to_owned() },
        None => Decision::Unschedulable(error),
    }
}

fn count(error: &mut FitError, refusal: Refusal, pod: &PodInfo, node: &NodeInfo) {
    let lower = node.pods.values().any(|placed| placed.priority < pod.priority());
    error.count(refusal, lower);
}

/// Gives how many nodes that do are enough: all of a small cluster, 50 % falling to 5 % of a large.
fn feasible_nodes_wanted(nodes: usize) -> usize {
    if nodes < FEASIBLE_NODES_MIN {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(NODES_PERCENT_MIN);
    (nodes * percent / 100).max(FEASIBLE_NODES_MIN)
}

fn best<'a>(pod: &PodInfo, feasible: &[&'a NodeInfo], seed: u64) -> Option<&'a NodeInfo> {
    if feasible.len() < 2 {
        return feasible.first().copied();
    }
    let totals = scores::totals(pod, feasible);
    let highest = totals.iter().copied().max()?;
    let mut ties: Vec<&NodeInfo> = feasible
        .iter()
        .zip(&totals)
        .filter(|(_, total)| **total == highest)
        .map(|(n, _)| *n)
        .collect();
    // The order must not depend on where the search began, or one seed would serve two choices.
    ties.sort_by(|a, b| a.name().cmp(b.name()));
    ties.get(index(seed, ties.len())).copied()
}

fn index(seed: u64, length: usize) -> usize {
    let length = u64::try_from(length).unwrap_or(u64::MAX).max(1);
    usize::try_from(seed % length).unwrap_or_default()
}

#[cfg(test)]
mod tests;
