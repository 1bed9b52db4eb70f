//! What one decision needs to know of the whole cluster, worked out once before nodes are asked.
//!
//! Filters and scores about other pods then look up counts for the place of a node. Preemption
//! takes pods out of the counts and puts them back, one at a time.
//! *Source:* the `PreFilter` and `PreScore` extension points of `pkg/scheduler/framework`.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use rustc_hash::FxHashSet;

use crate::classes::Class;
use crate::domains::Values;
use crate::filters::{affinity_allows, restricts_nodes, tolerates_binding_taints};
use crate::node_info::NodeInfo;
use crate::places::Places;
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;
use crate::terms::{Counted, PodTerm, Spread, Strictness, controller_uid};

/// How a binding spread constraint stands.
#[derive(Debug, Clone)]
pub(crate) struct SpreadState<'a> {
    /// The constraint.
    pub(crate) constraint: &'a Spread,
    /// Counted pods at each place that the pod could use.
    pub(crate) places: Places<'a>,
    /// Whether the pod itself is counted.
    pub(crate) counts_itself: bool,
    /// All places that the pod could use.
    values: UsablePlaces<'a>,
    /// Number of pods at the emptiest of them.
    fewest: i64,
}

/// The values of a label that stand for places.
#[derive(Debug, Clone)]
enum UsablePlaces<'a> {
    /// Those of all nodes, which the books keep.
    All(&'a Values),
    /// Those of the nodes that the pod could go to.
    Some(FxHashSet<&'a str>),
}

impl UsablePlaces<'_> {
    fn len(&self) -> usize {
        match self {
            UsablePlaces::All(values) => values.len(),
            UsablePlaces::Some(values) => values.len(),
        }
    }

    /// Gives the number of pods at the emptiest one.
    fn fewest(&self, pods: &Places<'_>) -> Option<i64> {
        match self {
            UsablePlaces::All(values) => values.keys().map(|value| pods.at(value)).min(),
            UsablePlaces::Some(values) => values.iter().map(|value| pods.at(value)).min(),
        }
    }
}

impl SpreadState<'_> {
    /// Gives the number of pods at the emptiest place; 0 while there are too few places.
    pub(crate) fn fewest(&self) -> i64 {
        self.fewest
    }

    fn recount(&mut self) {
        let enough = self.values.len() >= self.constraint.min_domains;
        let fewest = self.values.fewest(&self.places);
        self.fewest = fewest.filter(|_| enough).unwrap_or_default();
    }
}

/// One decision about one pod.
#[derive(Debug, Clone)]
pub(crate) struct Cycle<'a> {
    /// The pod that wants a node.
    pub(crate) pod: &'a PodInfo,
    /// The cluster.
    pub(crate) snapshot: &'a Snapshot,
    /// Its binding spread constraints, in order.
    pub(crate) spread: Vec<SpreadState<'a>>,
    /// For each of its affinity terms, how many pods that all terms mean are at each place.
    pub(crate) near: Vec<Places<'a>>,
    /// For each of its anti-affinity terms, how many pods are at each place.
    pub(crate) apart: Vec<Places<'a>>,
    /// By label of nodes, the places that placed pods do not want to share with this one.
    pub(crate) refused: HashMap<&'a str, Places<'a>>,
}

impl<'a> Cycle<'a> {
    /// Looks at the cluster with the eyes of a pod.
    pub(crate) fn new(snapshot: &'a Snapshot, pod: &'a PodInfo) -> Self {
        let terms = &pod.terms;
        let hard = terms.spread.iter().filter(|one| one.strictness == Strictness::Hard);
        let mut cycle = Cycle {
            pod,
            snapshot,
            spread: hard.map(|one| spread_state(one, pod, snapshot)).collect(),
            near: vec![Places::default(); terms.affinity.len()],
            apart: vec![Places::default(); terms.anti_affinity.len()],
            refused: HashMap::new(),
        };
        if !terms.affinity.is_empty() || !terms.anti_affinity.is_empty() {
            for class in snapshot.classes().iter() {
                cycle.count_own_terms(class);
            }
        }
        for class in snapshot.classes().with_terms() {
            cycle.count_refusals(class);
        }
        cycle
    }

    /// Counts a pod out of a node, as if it were displaced.
    pub(crate) fn remove(&mut self, placed: &'a PodInfo, node: &'a NodeInfo) {
        self.change(placed, node, -1);
    }

    /// Counts a pod in on a node.
    pub(crate) fn add(&mut self, placed: &'a PodInfo, node: &'a NodeInfo) {
        self.change(placed, node, 1);
    }

    fn change(&mut self, placed: &'a PodInfo, node: &'a NodeInfo, by: i64) {
        for state in &mut self.spread {
            if state.constraint.counts(&self.pod.pod, &placed.pod)
                && is_place(state.constraint, self.pod, node)
            {
                state.places.change(node.label(&state.constraint.topology_key), by);
                state.recount();
            }
        }
        let namespaces = &self.snapshot.namespaces;
        let terms = &self.pod.terms;
        if self.means_for_affinity(&placed.pod) {
            for (term, places) in terms.affinity.iter().zip(&mut self.near) {
                places.change(node.label(&term.topology_key), by);
            }
        }
        for (term, places) in terms.anti_affinity.iter().zip(&mut self.apart) {
            if term.matches(&placed.pod, namespaces) {
                places.change(node.label(&term.topology_key), by);
            }
        }
        for term in &placed.terms.anti_affinity {
            if term.matches(&self.pod.pod, namespaces) {
                self.refused_at(term).change(node.label(&term.topology_key), by);
            }
        }
    }

    fn count_own_terms(&mut self, class: &'a Class) {
        let sample = &class.sample.pod;
        let terms = &self.pod.terms;
        if self.means_for_affinity(sample) {
            for (term, places) in terms.affinity.iter().zip(&mut self.near) {
                places.add_class(class, &term.topology_key, self.snapshot);
            }
        }
        for (term, places) in terms.anti_affinity.iter().zip(&mut self.apart) {
            if term.matches(sample, &self.snapshot.namespaces) {
                places.add_class(class, &term.topology_key, self.snapshot);
            }
        }
    }

    fn count_refusals(&mut self, class: &'a Class) {
        let snapshot = self.snapshot;
        for term in &class.sample.terms.anti_affinity {
            if term.matches(&self.pod.pod, &snapshot.namespaces) {
                self.refused_at(term).add_class(class, &term.topology_key, snapshot);
            }
        }
    }

    fn refused_at(&mut self, term: &'a PodTerm) -> &mut Places<'a> {
        self.refused.entry(&term.topology_key).or_default()
    }

    /// A pod counts for affinity only if every required term means it.
    fn means_for_affinity(&self, other: &Pod) -> bool {
        let namespaces = &self.snapshot.namespaces;
        let terms = &self.pod.terms.affinity;
        !terms.is_empty() && terms.iter().all(|term| term.matches(other, namespaces))
    }
}

fn spread_state<'a>(
    constraint: &'a Spread,
    pod: &PodInfo,
    snapshot: &'a Snapshot,
) -> SpreadState<'a> {
    let key = &constraint.topology_key;
    let kept = snapshot.values_of(key).filter(|_| all_nodes_are_places(constraint, pod));
    let values = kept.map_or_else(
        || {
            let places = snapshot.nodes().filter(|node| is_place(constraint, pod, node));
            UsablePlaces::Some(places.filter_map(|node| node.label(key)).collect())
        },
        UsablePlaces::All,
    );
    let mut state = SpreadState {
        constraint,
        places: spread_places(constraint, pod, snapshot),
        counts_itself: constraint.counts(&pod.pod, &pod.pod),
        values,
        fewest: 0,
    };
    state.recount();
    state
}

/// Gives how many pods that a constraint counts are at each place that the pod could use.
pub(crate) fn spread_places<'a>(
    constraint: &Spread,
    pod: &PodInfo,
    snapshot: &'a Snapshot,
) -> Places<'a> {
    let mut places = Places::default();
    let everywhere = all_nodes_are_places(constraint, pod);
    let mut add = |class: &'a Class| {
        if !constraint.counts(&pod.pod, &class.sample.pod) {
            return;
        }
        let key = &constraint.topology_key;
        if everywhere {
            places.add_class(class, key, snapshot);
        } else {
            let place = |node: &NodeInfo| is_place(constraint, pod, node);
            places.add_class_where(class, key, snapshot, place);
        }
    };
    match &constraint.counted {
        Counted::Labelled(_) => snapshot.classes().iter().for_each(&mut add),
        Counted::Siblings => {
            let uid = controller_uid(&pod.pod).unwrap_or_default();
            snapshot.classes().controlled_by(uid).for_each(&mut add);
        }
    }
    places
}

/// Tells whether every node's place counts for a pod, without a look at any.
fn all_nodes_are_places(constraint: &Spread, pod: &PodInfo) -> bool {
    !constraint.honours_taints && !(constraint.honours_affinity && restricts_nodes(pod))
}

/// Tells whether a node's place counts for a pod: it has to be able to go there.
fn is_place(constraint: &Spread, pod: &PodInfo, node: &NodeInfo) -> bool {
    (!constraint.honours_affinity || affinity_allows(pod, node))
        && (!constraint.honours_taints || tolerates_binding_taints(pod, node))
}
