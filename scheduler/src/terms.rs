//! What a pod asks about other pods, read once: inter-pod affinity and topology spread.
//! *Source:* `k8s.io/api/core/v1` `PodAffinityTerm`, `TopologySpreadConstraint`.

use std::collections::BTreeSet;

use coracle_api::selector::LabelSelector;
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as WireSelector;
use serde_json::{Value, json};

use crate::namespaces::Namespaces;

/// Pods that are meant, and what makes two nodes the same place.
#[derive(Debug, Clone)]
pub struct PodTerm {
    selector: LabelSelector,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
    /// Label of nodes: nodes with the same value are one place.
    pub topology_key: String,
}

impl PodTerm {
    fn read(term: &PodAffinityTerm, pod: &Pod) -> Self {
        let mut selector = selector_value(term.label_selector.as_ref());
        merge_keys(&mut selector, term.match_label_keys.as_deref(), pod, "In");
        merge_keys(&mut selector, term.mismatch_label_keys.as_deref(), pod, "NotIn");
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.extend(pod.metadata.namespace.clone());
        }
        PodTerm {
            selector: read_selector(&selector),
            namespaces,
            namespace_selector: term
                .namespace_selector
                .as_ref()
                .map(|selector| read_selector(&selector_value(Some(selector)))),
            topology_key: term.topology_key.clone(),
        }
    }

    /// Tells whether a pod is meant.
    pub fn matches(&self, pod: &Pod, namespaces: &Namespaces) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let named = self.namespaces.contains(namespace);
        let selected = |selector: &LabelSelector| namespaces.matches(namespace, selector);
        (named || self.namespace_selector.as_ref().is_some_and(selected))
            && self.selector.matches(&pod.metadata.labels)
    }
}

/// A wish about other pods; unwanted ones have a negative weight.
#[derive(Debug, Clone)]
pub struct WeightedTerm {
    /// Which pods, where.
    pub term: PodTerm,
    /// How much it counts, -100 to 100.
    pub weight: i64,
}

/// What to do when nodes cannot be filled evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// `DoNotSchedule`: the pod waits.
    Hard,
    /// `ScheduleAnyway`: the more even node is better.
    Soft,
}

/// Keeps pods evenly over places.
#[derive(Debug, Clone)]
pub struct Spread {
    /// By how many pods a place may be ahead of the emptiest one.
    pub max_skew: i64,
    /// Places that there have to be before the emptiest counts as more than empty.
    pub min_domains: usize,
    /// Label of nodes: nodes with the same value are one place.
    pub topology_key: String,
    /// Whether the pod waits.
    pub strictness: Strictness,
    /// Only nodes that the pod's node affinity allows are places (`nodeAffinityPolicy: Honor`).
    pub honours_affinity: bool,
    /// Only nodes whose taints the pod tolerates are places (`nodeTaintsPolicy: Honor`).
    pub honours_taints: bool,
    /// Which pods are counted.
    pub counted: Counted,
}

impl Spread {
    /// Tells whether any pod of its namespace counts for `pod`: ending ones leave by themselves.
    pub fn counts(&self, pod: &Pod, other: &Pod) -> bool {
        other.metadata.namespace == pod.metadata.namespace
            && other.metadata.deletion_timestamp.is_none()
            && match &self.counted {
                Counted::Labelled(selector) => selector.matches(&other.metadata.labels),
                Counted::Siblings => controller_uid(other) == controller_uid(pod),
            }
    }
}

/// Which pods a spread constraint counts, in the pod's own namespace.
#[derive(Debug, Clone)]
pub enum Counted {
    /// Pods with these labels.
    Labelled(LabelSelector),
    /// Pods of the same controller, for the cluster's default constraints.
    Siblings,
}

/// Everything that a pod asks about other pods.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Pods that have to be at the place.
    pub affinity: Vec<PodTerm>,
    /// Pods that must not be there.
    pub anti_affinity: Vec<PodTerm>,
    /// Wishes.
    pub preferred: Vec<WeightedTerm>,
    /// Even distribution.
    pub spread: Vec<Spread>,
}

impl Terms {
    /// Reads a pod. A pod of a controller that says nothing gets upstream's default constraints:
    /// zones by at most 3, hosts by at most 5, neither binding.
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Terms::default() };
        let mut terms = Terms { spread: spreads(spec, pod), ..Terms::default() };
        let Some(affinity) = &spec.affinity else { return terms };
        if let Some(near) = &affinity.pod_affinity {
            let required = near.required_during_scheduling_ignored_during_execution.iter();
            terms.affinity = required.flatten().map(|term| PodTerm::read(term, pod)).collect();
            let wishes = near.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms.preferred.extend(wishes.map(|wish| WeightedTerm {
                term: PodTerm::read(&wish.pod_affinity_term, pod),
                weight: i64::from(wish.weight),
            }));
        }
        if let Some(apart) = &affinity.pod_anti_affinity {
            let required = apart.required_during_scheduling_ignored_during_execution.iter();
            terms.anti_affinity = required.flatten().map(|term| PodTerm::read(term, pod)).collect();
            let wishes =
                apart.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms.preferred.extend(wishes.map(|wish| WeightedTerm {
                term: PodTerm::read(&wish.pod_affinity_term, pod),
                weight: -i64::from(wish.weight),
            }));
        }
        terms
    }

    /// Gives the labels of nodes that the pod asks about.
    pub fn topology_keys(&self) -> impl Iterator<Item = &str> {
        let required = self.affinity.iter().chain(&self.anti_affinity);
        let terms = required.chain(self.preferred.iter().map(|wish| &wish.term));
        let spread = self.spread.iter().map(|one| one.topology_key.as_str());
        terms.map(|term| term.topology_key.as_str()).chain(spread)
    }

    /// Tells whether the pod asks anything about other pods' affinity.
    pub fn has_affinity(&self) -> bool {
        !self.affinity.is_empty() || !self.anti_affinity.is_empty() || !self.preferred.is_empty()
    }
}

fn spreads(spec: &PodSpec, pod: &Pod) -> Vec<Spread> {
    match spec.topology_spread_constraints.as_deref() {
        Some(constraints) if !constraints.is_empty() => {
            constraints.iter().map(|constraint| read_spread(constraint, pod)).collect()
        }
        Some(_) | None if controller_uid(pod).is_some() => {
            [("topology.kubernetes.io/zone", 3), ("kubernetes.io/hostname", 5)]
                .map(|(key, max_skew)| default_spread(key, max_skew))
                .into()
        }
        Some(_) | None => vec![],
    }
}

fn default_spread(topology_key: &str, max_skew: i64) -> Spread {
    Spread {
        max_skew,
        min_domains: 1,
        topology_key: topology_key.to_owned(),
        strictness: Strictness::Soft,
        honours_affinity: true,
        honours_taints: false,
        counted: Counted::Siblings,
    }
}

fn read_spread(constraint: &TopologySpreadConstraint, pod: &Pod) -> Spread {
    let mut selector = selector_value(constraint.label_selector.as_ref());
    merge_keys(&mut selector, constraint.match_label_keys.as_deref(), pod, "In");
    let soft = constraint.when_unsatisfiable == "ScheduleAnyway";
    Spread {
        max_skew: i64::from(constraint.max_skew),
        min_domains: constraint.min_domains.and_then(|min| usize::try_from(min).ok()).unwrap_or(1),
        topology_key: constraint.topology_key.clone(),
        strictness: if soft { Strictness::Soft } else { Strictness::Hard },
        honours_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
        honours_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        counted: Counted::Labelled(read_selector(&selector)),
    }
}

/// Gives the uid of a pod's controller.
pub fn controller_uid(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    controllers.next().map(|owner| owner.uid.as_str())
}

/// A selector as JSON; one that is missing matches nothing.
fn selector_value(selector: Option<&WireSelector>) -> Option<Value> {
    let selector = selector?;
    serde_json::to_value(selector).ok()
}

/// Adds the pod's own values of some label keys to a selector; keys that it lacks are left out.
fn merge_keys(selector: &mut Option<Value>, keys: Option<&[String]>, pod: &Pod, operator: &str) {
    let Some(selector) = selector else { return };
    let labels = pod.metadata.labels.as_ref();
    let own = keys.unwrap_or_default().iter();
    let added = own.filter_map(|key| {
        let value = labels?.get(key)?;
        Some(json!({"key": key, "operator": operator, "values": [value]}))
    });
    let added: Vec<Value> = added.collect();
    let expressions = &mut selector["matchExpressions"];
    if let Value::Array(all) = expressions {
        all.extend(added);
    } else {
        *expressions = Value::Array(added);
    }
}

/// One that cannot be read matches nothing; validation has refused it before.
fn read_selector(selector: &Option<Value>) -> LabelSelector {
    let read = selector.as_ref().map(LabelSelector::from_value);
    read.and_then(Result::ok).unwrap_or_else(LabelSelector::nothing)
}
