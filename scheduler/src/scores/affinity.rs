//! Prefers nodes with the labels that the pod would like: preferred node affinity.

use super::stretched;
use crate::cycle::Cycle;
use crate::filters::term_matches;
use crate::node_info::NodeInfo;

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let pod = cycle.pod;
    let affinity = pod.spec().and_then(|spec| spec.affinity.as_ref());
    let preferred =
        affinity.and_then(|affinity| affinity.node_affinity.as_ref()).and_then(|affinity| {
            affinity.preferred_during_scheduling_ignored_during_execution.as_ref()
        });
    let Some(preferred) = preferred else { return vec![0; nodes.len()] };
    let weight = |node: &&NodeInfo| {
        let matching = preferred.iter().filter(|term| term_matches(&term.preference, node));
        matching.map(|term| i64::from(term.weight)).sum()
    };
    stretched(nodes.iter().map(weight).collect())
}
