//! Placed pods in classes that look alike to every selector, counted at each place.
//!
//! Whoever asks how many pods with some labels are where, tries the selector on one pod of each
//! class and not on every pod: a Deployment of 10,000 pods is one class. For the labels of nodes
//! that anybody asks about, the counts are kept and not worked out again for each decision.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::terms::controller_uid;

/// Number of pods at each value of one label of nodes; values without pods are left out. Whoever may label nodes may do
/// worse than make them collide.
pub type Counts = FxHashMap<String, i64>;

/// Placed pods with the same namespace, labels, controller and terms.
#[derive(Debug, Clone)]
pub struct Class {
    /// One of them; the others look the same to every question that is asked of a class.
    pub sample: Arc<PodInfo>,
    /// How many are on each node, by the node's slot; never 0.
    pub nodes: FxHashMap<usize, u32>,
    by_label: BTreeMap<Arc<str>, Counts>,
}

impl Class {
    /// Gives the counts for a label of nodes, `None` if they are not kept.
    pub fn counts(&self, key: &str) -> Option<&Counts> {
        self.by_label.get(key)
    }

    fn count(&mut self, node: &NodeInfo, by: i64) {
        for (key, counts) in &mut self.by_label {
            if let Some(value) = node.label(key) {
                change(counts, value, by);
            }
        }
    }
}

/// All classes with at least one placed pod.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    all: HashMap<Arc<str>, Class>,
    /// Classes whose pods have required or preferred terms about other pods.
    with_terms: BTreeSet<Arc<str>>,
    /// Classes by the uid of their pods' controller.
    by_controller: HashMap<String, BTreeSet<Arc<str>>>,
    /// Labels of nodes for which counts are kept.
    labels: BTreeSet<Arc<str>>,
}

impl Classes {
    /// Gives every class.
    pub fn iter(&self) -> impl Iterator<Item = &Class> {
        self.all.values()
    }

    /// Gives the classes whose pods say something about other pods.
    pub fn with_terms(&self) -> impl Iterator<Item = &Class> {
        self.with_terms.iter().filter_map(|key| self.all.get(key))
    }

    /// Gives the classes of one controller's pods.
    pub fn controlled_by(&self, uid: &str) -> impl Iterator<Item = &Class> {
        let keys = self.by_controller.get(uid).into_iter().flatten();
        keys.filter_map(|key| self.all.get(key))
    }

    /// Tells whether counts are kept for a label of nodes.
    pub fn keeps(&self, label: &str) -> bool {
        self.labels.contains(label)
    }

    /// Keeps counts for a label of nodes from now on; `node` gives what is in a slot.
    pub fn keep<'a>(&mut self, label: &str, node: impl Fn(usize) -> &'a NodeInfo) {
        let label: Arc<str> = label.into();
        for class in self.all.values_mut() {
            let mut counts = Counts::default();
            for (slot, count) in &class.nodes {
                if let Some(value) = node(*slot).label(&label) {
                    change(&mut counts, value, i64::from(*count));
                }
            }
            class.by_label.insert(Arc::clone(&label), counts);
        }
        self.labels.insert(label);
    }

    /// Counts a pod in on a node.
    pub fn add(&mut self, pod: &Arc<PodInfo>, node: &NodeInfo) {
        if !self.all.contains_key(&pod.class) {
            self.insert(pod);
        }
        if let Some(class) = self.all.get_mut(&pod.class) {
            *class.nodes.entry(node.slot).or_default() += 1;
            class.count(node, 1);
        }
    }

    /// Counts a pod out that was counted in on that node.
    pub fn remove(&mut self, pod: &PodInfo, node: &NodeInfo) {
        let Some(class) = self.all.get_mut(&pod.class) else { return };
        let Some(count) = class.nodes.get_mut(&node.slot) else { return };
        *count -= 1;
        if *count == 0 {
            class.nodes.remove(&node.slot);
        }
        class.count(node, -1);
        if class.nodes.is_empty() {
            self.forget(pod);
        }
    }

    /// Counts all pods of a node out (`by` -1) before its labels change, and in (1) after it.
    pub fn relabel(&mut self, node: &NodeInfo, by: i64) {
        let classes: BTreeSet<&Arc<str>> = node.pods.values().map(|pod| &pod.class).collect();
        for key in classes {
            if let Some(class) = self.all.get_mut(key) {
                let pods = class.nodes.get(&node.slot).copied().unwrap_or_default();
                class.count(node, by * i64::from(pods));
            }
        }
    }

    fn insert(&mut self, pod: &Arc<PodInfo>) {
        let key = &pod.class;
        if pod.terms.has_affinity() {
            self.with_terms.insert(Arc::clone(key));
        }
        if let Some(uid) = controller_uid(&pod.pod) {
            self.by_controller.entry(uid.to_owned()).or_default().insert(Arc::clone(key));
        }
        let by_label = self.labels.iter().map(|label| (Arc::clone(label), Counts::default()));
        let class = Class {
            sample: Arc::clone(pod),
            nodes: FxHashMap::default(),
            by_label: by_label.collect(),
        };
        self.all.insert(Arc::clone(key), class);
    }

    fn forget(&mut self, pod: &PodInfo) {
        self.all.remove(&pod.class);
        self.with_terms.remove(&pod.class);
        if let Some(uid) = controller_uid(&pod.pod)
            && let Some(keys) = self.by_controller.get_mut(uid)
        {
            keys.remove(&pod.class);
            if keys.is_empty() {
                self.by_controller.remove(uid);
            }
        }
    }
}

fn change(counts: &mut Counts, value: &str, by: i64) {
    match counts.get_mut(value) {
        Some(count) => {
            *count += by;
            if *count == 0 {
                counts.remove(value);
            }
        }
        None if by != 0 => {
            counts.insert(value.to_owned(), by);
        }
        None => {}
    }
}
