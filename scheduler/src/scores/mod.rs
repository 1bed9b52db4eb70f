//! Which of the nodes that would do is best: each score is 0 to 100, higher is better, and counts
//! with upstream's weight.
//! *Source:* `pkg/scheduler/apis/config/v1/default_plugins.go`.

mod affinity;
mod balanced;
mod least_allocated;
mod taints;

use crate::pod_info::PodInfo;
use crate::snapshot::NodeInfo;

/// Best score of one kind.
pub const SCORE_MAX: i64 = 100;

/// Gives one score for each node, all of them at once because some are relative to each other.
type Score = fn(&PodInfo, &[&NodeInfo]) -> Vec<i64>;

const SCORES: [(Score, i64); 4] =
    [(taints::score, 3), (affinity::score, 2), (least_allocated::score, 1), (balanced::score, 1)];

/// Gives the weighted sum of all scores for each node.
pub fn totals(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    for (score, weight) in SCORES {
        for (total, score) in totals.iter_mut().zip(score(pod, nodes)) {
            *total += weight * score;
        }
    }
    totals
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
