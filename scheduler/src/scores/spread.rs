//! Prefers places with fewer of the pod's kind: soft topology spread constraints.
//! *Source:* `pkg/scheduler/framework/plugins/podtopologyspread/scoring.go`.

use rustc_hash::{FxBuildHasher, FxHashSet};

use super::SCORE_MAX;
use crate::cycle::{Cycle, spread_places};
use crate::node_info::NodeInfo;
use crate::terms::{Spread, Strictness};

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let soft = |one: &&Spread| one.strictness == Strictness::Soft;
    let constraints: Vec<&Spread> = cycle.pod.terms.spread.iter().filter(soft).collect();
    if constraints.is_empty() {
        return vec![];
    }
    let costs: Vec<Vec<Option<f64>>> =
        constraints.iter().map(|constraint| costs(cycle, constraint, nodes)).collect();
    let total = |index: usize| costs.iter().map(|one| one[index]).sum::<Option<f64>>();
    let totals: Vec<Option<f64>> = (0..nodes.len()).map(total).collect();
    normalised(&totals)
}

/// Gives what each node costs by one constraint; `None` for a node without the label, unless no
/// node has it.
fn costs(cycle: &Cycle<'_>, constraint: &Spread, nodes: &[&NodeInfo]) -> Vec<Option<f64>> {
    let key = &constraint.topology_key;
    let values: Vec<Option<&str>> = nodes.iter().map(|node| node.label(key)).collect();
    let mut sizes: FxHashSet<&str> =
        FxHashSet::with_capacity_and_hasher(values.len(), FxBuildHasher);
    sizes.extend(values.iter().copied().flatten());
    if sizes.is_empty() {
        return vec![Some(0.0); nodes.len()];
    }
    let places = spread_places(constraint, cycle.pod, cycle.snapshot);
    #[expect(clippy::cast_precision_loss, reason = "a weight of a score")]
    let weight = ((sizes.len() + 2) as f64).ln();
    let cost = |value: &Option<&str>| {
        let here = places.at((*value)?);
        #[expect(clippy::cast_precision_loss, reason = "numbers of pods")]
        let (here, skew) = (here as f64, (constraint.max_skew - 1) as f64);
        Some(here * weight + skew)
    };
    values.iter().map(cost).collect()
}

/// Turns costs round: the cheapest node gets 100; nodes without the labels get 0.
fn normalised(costs: &[Option<f64>]) -> Vec<i64> {
    let known = || costs.iter().flatten().map(|cost| cost.round());
    let highest = known().fold(f64::MIN, f64::max);
    let lowest = known().fold(f64::MAX, f64::min);
    let score = |cost: &Option<f64>| match cost {
        None => 0,
        Some(_) if highest <= 0.0 => SCORE_MAX,
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "0..=100")]
        Some(cost) => (SCORE_MAX as f64 * (highest + lowest - cost.round()) / highest) as i64,
    };
    costs.iter().map(score).collect()
}
