//! Number of pods at each place, put together from the counts of classes.

use rustc_hash::FxHashMap;

use crate::classes::{Class, Counts};
use crate::node_info::NodeInfo;
use crate::snapshot::Snapshot;

/// Pods of some classes by the value of one label of nodes, and what was changed in thought.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places<'a> {
    kept: Vec<&'a Counts>,
    changed: FxHashMap<&'a str, i64>,
}

impl<'a> Places<'a> {
    /// Adds the pods of a class by a label of nodes.
    pub(crate) fn add_class(&mut self, class: &'a Class, label: &str, snapshot: &'a Snapshot) {
        match class.counts(label) {
            Some(counts) => self.kept.push(counts),
            None => self.add_class_where(class, label, snapshot, |_| true),
        }
    }

    /// The same for those nodes only that `is_place` allows.
    pub(crate) fn add_class_where(
        &mut self,
        class: &Class,
        label: &str,
        snapshot: &'a Snapshot,
        is_place: impl Fn(&NodeInfo) -> bool,
    ) {
        for (slot, count) in &class.nodes {
            let node = snapshot.in_slot(*slot);
            if is_place(node) {
                self.change(node.label(label), i64::from(*count));
            }
        }
    }

    /// Counts pods in or out at one place; nothing for a node without the label.
    pub(crate) fn change(&mut self, value: Option<&'a str>, by: i64) {
        if let Some(value) = value {
            *self.changed.entry(value).or_default() += by;
        }
    }

    /// Gives the number of pods at a place.
    pub(crate) fn at(&self, value: &str) -> i64 {
        let kept: i64 = self.kept.iter().filter_map(|counts| counts.get(value)).sum();
        kept + self.changed.get(value).copied().unwrap_or_default()
    }

    /// Tells whether there is no pod anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        let kept = self.kept.iter().flat_map(|counts| counts.keys());
        kept.map(String::as_str)
            .chain(self.changed.keys().copied())
            .all(|value| self.at(value) <= 0)
    }
}
