//! Prefers places by the wishes of the pod about placed pods, and of placed pods about it.
//! *Source:* `pkg/scheduler/framework/plugins/interpodaffinity/scoring.go`.

use std::collections::HashMap;

use super::SCORE_MAX;
use crate::classes::Class;
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;
use crate::terms::PodTerm;

/// What a placed pod's *required* affinity to this pod counts, as if it were a wish.
const REQUIRED_WEIGHT: i64 = 1;

/// Points for each place, by label and value.
type Points<'a> = HashMap<&'a str, HashMap<&'a str, i64>>;

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let points = points(cycle);
    if points.is_empty() {
        return vec![];
    }
    let sum = |node: &&NodeInfo| -> i64 {
        let at = |(key, values): (&&str, &HashMap<&str, i64>)| {
            node.label(key).and_then(|value| values.get(value)).copied().unwrap_or_default()
        };
        points.iter().map(at).sum()
    };
    let sums: Vec<i64> = nodes.iter().map(sum).collect();
    let (lowest, highest) = (sums.iter().min().copied(), sums.iter().max().copied());
    let (lowest, highest) = (lowest.unwrap_or_default(), highest.unwrap_or_default());
    if lowest == highest {
        return vec![];
    }
    sums.iter().map(|sum| SCORE_MAX * (sum - lowest) / (highest - lowest)).collect()
}

fn points<'a>(cycle: &Cycle<'a>) -> Points<'a> {
    let mut points = Points::new();
    let namespaces = &cycle.snapshot.namespaces;
    if !cycle.pod.terms.preferred.is_empty() {
        for class in cycle.snapshot.classes().iter() {
            for wish in &cycle.pod.terms.preferred {
                if wish.term.matches(&class.sample.pod, namespaces) {
                    give(&mut points, cycle, class, &wish.term, wish.weight);
                }
            }
        }
    }
    for class in cycle.snapshot.classes().with_terms() {
        let terms = &class.sample.terms;
        for wish in &terms.preferred {
            if wish.term.matches(&cycle.pod.pod, namespaces) {
                give(&mut points, cycle, class, &wish.term, wish.weight);
            }
        }
        for term in &terms.affinity {
            if term.matches(&cycle.pod.pod, namespaces) {
                give(&mut points, cycle, class, term, REQUIRED_WEIGHT);
            }
        }
    }
    points
}

fn give<'a>(
    points: &mut Points<'a>,
    cycle: &Cycle<'a>,
    class: &Class,
    term: &'a PodTerm,
    weight: i64,
) {
    let places = points.entry(&term.topology_key).or_default();
    for (slot, count) in &class.nodes {
        if let Some(value) = cycle.snapshot.in_slot(*slot).label(&term.topology_key) {
            *places.entry(value).or_default() += weight * i64::from(*count);
        }
    }
}
