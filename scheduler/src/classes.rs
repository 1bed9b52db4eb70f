//! Placed pods in classes that look alike to every selector, counted on each node.
//!
//! Whoever asks how many pods with some labels are where, tries the selector on one pod of each
//! class and not on every pod: a Deployment of 10,000 pods is one class.

use std::collections::HashMap;
use std::sync::Arc;

use crate::pod_info::PodInfo;

/// Placed pods with the same namespace, labels, controller and terms.
#[derive(Debug, Clone)]
pub struct Class {
    /// One of them; the others look the same to every question that is asked of a class.
    pub sample: Arc<PodInfo>,
    /// How many are on each node, by the node's slot; never 0.
    pub nodes: HashMap<usize, u32>,
}

/// All classes with at least one placed pod.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    all: HashMap<Arc<str>, Class>,
    /// Classes whose pods have required or preferred terms about other pods.
    with_terms: HashMap<Arc<str>, ()>,
}

impl Classes {
    /// Gives every class.
    pub fn iter(&self) -> impl Iterator<Item = &Class> {
        self.all.values()
    }

    /// Gives the classes whose pods say something about other pods.
    pub fn with_terms(&self) -> impl Iterator<Item = &Class> {
        self.with_terms.keys().filter_map(|key| self.all.get(key))
    }

    /// Counts a pod in.
    pub fn add(&mut self, pod: &Arc<PodInfo>, slot: usize) {
        let class = self.all.entry(Arc::clone(&pod.class)).or_insert_with(|| {
            if pod.terms.has_affinity() {
                self.with_terms.insert(Arc::clone(&pod.class), ());
            }
            Class { sample: Arc::clone(pod), nodes: HashMap::new() }
        });
        *class.nodes.entry(slot).or_default() += 1;
    }

    /// Counts a pod out that was counted in on that node.
    pub fn remove(&mut self, pod: &PodInfo, slot: usize) {
        let Some(class) = self.all.get_mut(&pod.class) else { return };
        if let Some(count) = class.nodes.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                class.nodes.remove(&slot);
            }
        }
        if class.nodes.is_empty() {
            self.all.remove(&pod.class);
            self.with_terms.remove(&pod.class);
        }
    }
}
