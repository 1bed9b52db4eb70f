//! Prefers places by the wishes of the pod about placed pods, and of placed pods about it.
//! *Source:* `pkg/scheduler/framework/plugins/interpodaffinity/scoring.go`.

use std::collections::HashMap;

use super::SCORE_MAX;
use crate::classes::Class;
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;
use crate::places::Places;
use crate::terms::PodTerm;

/// What a placed pod's *required* affinity to this pod counts, as if it were a wish.
const REQUIRED_WEIGHT: i64 = 1;

/// By label of nodes, the pods that count, each with what one of them counts.
type Points<'a> = HashMap<&'a str, Vec<(Places<'a>, i64)>>;

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let points = points(cycle);
    if points.is_empty() {
        return vec![];
    }
    let sum = |node: &&NodeInfo| -> i64 {
        let at = |(key, weighted): (&&str, &Vec<(Places<'_>, i64)>)| -> i64 {
            let Some(value) = node.label(key) else { return 0 };
            weighted.iter().map(|(places, weight)| weight * places.at(value)).sum()
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
    class: &'a Class,
    term: &'a PodTerm,
    weight: i64,
) {
    let mut places = Places::default();
    places.add_class(class, &term.topology_key, cycle.snapshot);
    points.entry(&term.topology_key).or_default().push((places, weight));
}
