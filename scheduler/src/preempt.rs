//! Which pods of lower priority to displace so that a pod gets a node. Pure.
//!
//! On each node that could help, all pods of lower priority are taken away in thought, and then put
//! back as far as the pod still fits, the ones whose budget would break first and the important
//! ones first. What cannot be put back are the victims. The node that hurts least is chosen.
//! *Source:* `pkg/scheduler/framework/plugins/defaultpreemption`.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::cycle::Cycle;
use crate::filters::refusal;
use crate::fit_error::{FitError, NO_VICTIMS};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

/// Nodes with victims that are compared at least, and the part of a large cluster in hundredths.
const CANDIDATES_MIN: usize = 100;
const CANDIDATES_PERCENT: usize = 10;

/// A node and the pods that have to leave it.
#[derive(Debug, Clone)]
pub struct Preemption {
    /// Name of the node.
    pub node: String,
    /// The pods, most important first; at least one.
    pub victims: Vec<Arc<PodInfo>>,
}

struct Candidate<'a> {
    node: &'a NodeInfo,
    victims: Vec<Arc<PodInfo>>,
    broken_budgets: usize,
}

/// Finds the least harmful preemption on nodes whose refusal it may lift; writes into `error` why
/// the others do not help.
pub(crate) fn preempt(
    cycle: &Cycle<'_>,
    nodes: &[&NodeInfo],
    error: &mut FitError,
) -> Option<Preemption> {
    let enough = CANDIDATES_MIN.max(cycle.snapshot.nodes().len() * CANDIDATES_PERCENT / 100);
    let mut candidates = vec![];
    for node in nodes {
        match victims_on(cycle, node) {
            Ok(candidate) => candidates.push(candidate),
            Err(reasons) => error.count_preemption(&reasons),
        }
        if candidates.len() == enough {
            break;
        }
    }
    let best = candidates.into_iter().min_by_key(harm)?;
    Some(Preemption { node: best.node.name.clone(), victims: best.victims })
}

/// Less is better: broken budgets, then the most important victim, all victims together, their
/// number, and how long the most important one has been running.
fn harm(candidate: &Candidate<'_>) -> (usize, i32, i64, usize, Reverse<Option<Time>>, String) {
    let victims = &candidate.victims;
    let highest = victims.iter().map(|pod| pod.priority()).max().unwrap_or(i32::MIN);
    // Counted from the lowest priority there is, so that many small ones are not better than few.
    let above = |pod: &Arc<PodInfo>| i64::from(pod.priority()) - i64::from(i32::MIN) + 1;
    let top = victims.iter().filter(|pod| pod.priority() == highest);
    let earliest = top.map(|pod| started(pod)).min().flatten();
    (
        candidate.broken_budgets,
        highest,
        victims.iter().map(above).sum(),
        victims.len(),
        Reverse(earliest),
        candidate.node.name.clone(),
    )
}

fn victims_on<'a>(cycle: &Cycle<'a>, node: &'a NodeInfo) -> Result<Candidate<'a>, Vec<String>> {
    let lower = |pod: &&Arc<PodInfo>| pod.priority() < cycle.pod.priority();
    let mut lower: Vec<&Arc<PodInfo>> = node.pods.values().filter(lower).collect();
    if lower.is_empty() {
        return Err(vec![NO_VICTIMS.to_owned()]);
    }
    let (mut thought, mut emptier) = (cycle.clone(), node.clone());
    for pod in &lower {
        thought.remove(pod, node);
        emptier.remove(pod.uid());
    }
    if let Some(refusal) = refusal(&thought, &emptier) {
        return Err(refusal.reasons.into_iter().map(Into::into).collect());
    }
    lower.sort_by_key(|pod| (Reverse(pod.priority()), started(pod)));
    let objects: Vec<_> = lower.iter().map(|pod| &*pod.pod).collect();
    let broken = cycle.snapshot.budgets.broken_by(&objects);
    let mut candidate = Candidate { node, victims: vec![], broken_budgets: 0 };
    for budget_breaks in [true, false] {
        let of_kind = lower.iter().zip(&broken).filter(|(_, breaks)| **breaks == budget_breaks);
        for (pod, _) in of_kind {
            thought.add(pod, node);
            emptier.add(Arc::clone(pod));
            if refusal(&thought, &emptier).is_some() {
                thought.remove(pod, node);
                emptier.remove(pod.uid());
                candidate.victims.push(Arc::clone(pod));
                candidate.broken_budgets += usize::from(budget_breaks);
            }
        }
    }
    candidate.victims.sort_by_key(|pod| (Reverse(pod.priority()), started(pod)));
    Ok(candidate)
}

fn started(pod: &PodInfo) -> Option<Time> {
    pod.pod.status.as_ref()?.start_time.clone()
}

#[cfg(test)]
mod tests;
