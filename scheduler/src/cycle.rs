//! What one decision needs to know of the whole cluster, worked out once before nodes are asked.
//!
//! Filters and scores about other pods then look up counts for the place of a node. Preemption
//! takes pods out of the counts and puts them back, one at a time.
//! *Source:* the `PreFilter` and `PreScore` extension points of `pkg/scheduler/framework`.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;

use crate::classes::Class;
use crate::filters::{affinity_allows, tolerates_binding_taints};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;
use crate::terms::{Counted, PodTerm, Spread, Strictness, Terms, controller_uid};

/// Number of pods at each place: by the value of the nodes' label.
pub(crate) type Places<'a> = HashMap<&'a str, i64>;

/// How a spread constraint stands.
#[derive(Debug, Clone)]
pub(crate) struct SpreadState<'a> {
    /// The constraint.
    pub(crate) constraint: &'a Spread,
    /// Counted pods at each place that the pod could use.
    pub(crate) places: Places<'a>,
    /// Whether the pod itself is counted.
    pub(crate) counts_itself: bool,
}

impl SpreadState<'_> {
    /// Gives the number of pods at the emptiest place; 0 while there are too few places.
    pub(crate) fn fewest(&self) -> i64 {
        if self.places.len() < self.constraint.min_domains {
            return 0;
        }
        self.places.values().copied().min().unwrap_or_default()
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
    /// Places, by label and value, that placed pods do not want to share with this one.
    pub(crate) refused: HashMap<&'a str, Places<'a>>,
}

impl<'a> Cycle<'a> {
    /// Looks at the cluster with the eyes of a pod.
    pub(crate) fn new(snapshot: &'a Snapshot, pod: &'a PodInfo) -> Self {
        let terms = &pod.terms;
        let mut cycle = Cycle {
            pod,
            snapshot,
            spread: hard(terms).map(|one| spread_state(one, pod, snapshot)).collect(),
            near: vec![Places::new(); terms.affinity.len()],
            apart: vec![Places::new(); terms.anti_affinity.len()],
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
            if counts(state.constraint, self.pod, &placed.pod)
                && let Some(value) = node.label(&state.constraint.topology_key)
                && let Some(count) = state.places.get_mut(value)
            {
                *count += by;
            }
        }
        let namespaces = &self.snapshot.namespaces;
        let terms = &self.pod.terms;
        if self.means_for_affinity(&placed.pod) {
            for (term, places) in terms.affinity.iter().zip(&mut self.near) {
                bump(places, node.label(&term.topology_key), by);
            }
        }
        for (term, places) in terms.anti_affinity.iter().zip(&mut self.apart) {
            if term.matches(&placed.pod, namespaces) {
                bump(places, node.label(&term.topology_key), by);
            }
        }
        for term in &placed.terms.anti_affinity {
            if term.matches(&self.pod.pod, namespaces) {
                self.refuse(term, node, by);
            }
        }
    }

    fn count_own_terms(&mut self, class: &'a Class) {
        let sample = &class.sample.pod;
        let terms = &self.pod.terms;
        if self.means_for_affinity(sample) {
            for (term, places) in terms.affinity.iter().zip(&mut self.near) {
                count_class(places, class, self.snapshot, &term.topology_key);
            }
        }
        for (term, places) in terms.anti_affinity.iter().zip(&mut self.apart) {
            if term.matches(sample, &self.snapshot.namespaces) {
                count_class(places, class, self.snapshot, &term.topology_key);
            }
        }
    }

    fn count_refusals(&mut self, class: &'a Class) {
        for term in &class.sample.terms.anti_affinity {
            if !term.matches(&self.pod.pod, &self.snapshot.namespaces) {
                continue;
            }
            for (slot, count) in &class.nodes {
                self.refuse(term, self.snapshot.in_slot(*slot), i64::from(*count));
            }
        }
    }

    fn refuse(&mut self, term: &'a PodTerm, node: &'a NodeInfo, by: i64) {
        let places = self.refused.entry(&term.topology_key).or_default();
        bump(places, node.label(&term.topology_key), by);
    }

    /// A pod counts for affinity only if every required term means it.
    fn means_for_affinity(&self, other: &Pod) -> bool {
        let namespaces = &self.snapshot.namespaces;
        self.pod.terms.affinity.iter().all(|term| term.matches(other, namespaces))
    }
}

fn hard(terms: &Terms) -> impl Iterator<Item = &Spread> {
    terms.spread.iter().filter(|one| one.strictness == Strictness::Hard)
}

fn spread_state<'a>(
    constraint: &'a Spread,
    pod: &PodInfo,
    snapshot: &'a Snapshot,
) -> SpreadState<'a> {
    let mut places = Places::new();
    for node in snapshot.nodes() {
        if let Some(value) = node.label(&constraint.topology_key)
            && !places.contains_key(value)
            && is_place(constraint, pod, node)
        {
            places.insert(value, 0);
        }
    }
    for class in snapshot.classes().iter().filter(|c| counts(constraint, pod, &c.sample.pod)) {
        for (slot, count) in &class.nodes {
            let node = snapshot.in_slot(*slot);
            let value = node.label(&constraint.topology_key);
            if let Some(place) = value.and_then(|value| places.get_mut(value))
                && is_place(constraint, pod, node)
            {
                *place += i64::from(*count);
            }
        }
    }
    let counts_itself = counts(constraint, pod, &pod.pod);
    SpreadState { constraint, places, counts_itself }
}

/// Tells whether a node's place counts for a pod: it has to be able to go there.
pub(crate) fn is_place(constraint: &Spread, pod: &PodInfo, node: &NodeInfo) -> bool {
    (!constraint.honours_affinity || affinity_allows(pod, node))
        && (!constraint.honours_taints || tolerates_binding_taints(pod, node))
}

/// Pods that are ending are not counted, because they leave by themselves.
pub(crate) fn counts(constraint: &Spread, pod: &PodInfo, other: &Pod) -> bool {
    let same_namespace = other.metadata.namespace == pod.pod.metadata.namespace;
    same_namespace
        && other.metadata.deletion_timestamp.is_none()
        && match &constraint.counted {
            Counted::Labelled(selector) => selector.matches(&other.metadata.labels),
            Counted::Siblings => controller_uid(other) == controller_uid(&pod.pod),
        }
}

fn count_class<'a>(
    places: &mut Places<'a>,
    class: &Class,
    snapshot: &'a Snapshot,
    topology_key: &str,
) {
    for (slot, count) in &class.nodes {
        bump(places, snapshot.in_slot(*slot).label(topology_key), i64::from(*count));
    }
}

fn bump<'a>(places: &mut Places<'a>, value: Option<&'a str>, by: i64) {
    if let Some(value) = value {
        *places.entry(value).or_default() += by;
    }
}
