//! Which of the nodes that would do is best: each score is 0 to 100, higher is better, and counts
//! with upstream's weight.
//! *Source:* `pkg/scheduler/apis/config/v1/default_plugins.go`.

mod affinity;
mod balanced;
mod images;
mod least_allocated;
mod pod_affinity;
mod spread;
mod taints;

use crate::cycle::Cycle;
use crate::node_info::NodeInfo;

/// Best score of one kind.
pub const SCORE_MAX: i64 = 100;

/// One way to compare nodes.
struct Score {
    /// Upstream's name of the plugin.
    name: &'static str,
    weight: i64,
    /// Gives one score for each node, all at once because some are relative to each other; none
    /// when the pod does not care.
    of: fn(&Cycle<'_>, &[&NodeInfo]) -> Vec<i64>,
}

const SCORES: [Score; 7] = [
    Score { name: "TaintToleration", weight: 3, of: taints::score },
    Score { name: "NodeAffinity", weight: 2, of: affinity::score },
    Score { name: "PodTopologySpread", weight: 2, of: spread::score },
    Score { name: "InterPodAffinity", weight: 2, of: pod_affinity::score },
    Score { name: "NodeResourcesFit", weight: 1, of: least_allocated::score },
    Score { name: "NodeResourcesBalancedAllocation", weight: 1, of: balanced::score },
    Score { name: "ImageLocality", weight: 1, of: images::score },
];

/// Gives the weighted sum of all scores for each node.
pub(crate) fn totals(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    for score in &SCORES {
        for (total, value) in totals.iter_mut().zip((score.of)(cycle, nodes)) {
            *total += score.weight * value;
        }
    }
    totals
}

/// Gives for each node the weighted score of each kind by its name, for an explanation.
pub(crate) fn by_name(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<Vec<(&'static str, i64)>> {
    let mut all = vec![vec![]; nodes.len()];
    for score in &SCORES {
        let mut values = (score.of)(cycle, nodes);
        values.resize(nodes.len(), 0);
        for (node, value) in all.iter_mut().zip(values) {
            node.push((score.name, score.weight * value));
        }
    }
    all
}

/// Stretches scores so that the highest becomes [`SCORE_MAX`]; all zero stays zero.
fn stretched(scores: Vec<i64>) -> Vec<i64> {
    let highest = scores.iter().copied().max().unwrap_or_default();
    if highest == 0 {
        return scores;
    }
    scores.into_iter().map(|score| score * SCORE_MAX / highest).collect()
}

#[cfg(test)]
mod tests;
