//! How many known nodes have each value of a label: the places of a topology, without a look at every node.
//!
//! Counts are kept for the labels that anybody asks about, and change with the nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::node_info::NodeInfo;

/// Number of known nodes at each value of one label; never 0.
pub(crate) type Values = FxHashMap<String, usize>;

/// The values of some labels of nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Domains {
    by_label: BTreeMap<Arc<str>, Values>,
}

impl Domains {
    /// Gives the values of a label, `None` if they are not kept.
    pub(crate) fn values(&self, label: &str) -> Option<&Values> {
        self.by_label.get(label)
    }

    /// Keeps the values of a label from now on, beginning with these nodes.
    pub(crate) fn keep<'a>(&mut self, label: &str, nodes: impl Iterator<Item = &'a NodeInfo>) {
        let mut values = Values::default();
        for value in nodes.filter_map(|node| node.label(label)) {
            *values.entry(value.to_owned()).or_default() += 1;
        }
        self.by_label.insert(label.into(), values);
    }

    /// Counts a node in; one that is not known has no labels.
    pub(crate) fn add(&mut self, node: &NodeInfo) {
        for (label, values) in &mut self.by_label {
            if let Some(value) = node.label(label) {
                *values.entry(value.to_owned()).or_default() += 1;
            }
        }
    }

    /// Counts a node out, with the labels that it was counted in with.
    pub(crate) fn remove(&mut self, node: &NodeInfo) {
        for (label, values) in &mut self.by_label {
            let Some(value) = node.label(label) else { continue };
            let Some(count) = values.get_mut(value) else { continue };
            *count -= 1;
            if *count == 0 {
                values.remove(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::snapshot::Snapshot;
    use crate::testing::{info, node, pod};

    const ZONE: &str = "topology.kubernetes.io/zone";

    fn check(snapshot: &Snapshot, expected: &[(&str, usize)]) {
        let mut found: Vec<_> = snapshot
            .values_of(ZONE)
            .unwrap()
            .iter()
            .map(|(value, count)| (value.as_str(), *count))
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn values_follow_the_nodes() {
        let in_zone =
            |name: &str, zone: &str| node(name, json!({"metadata": {"labels": {ZONE: zone}}}));
        let mut snapshot = Snapshot::default();
        snapshot.set_node(in_zone("a", "x"));
        assert!(snapshot.values_of(ZONE).is_none());
        let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": ZONE,
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]});
        let pod = info(pod("p", spread));
        snapshot.prepare(&pod);
        check(&snapshot, &[("x", 1)]);
        snapshot.set_node(in_zone("b", "x"));
        snapshot.set_node(in_zone("c", "y"));
        snapshot.set_node(node("d", json!({})));
        check(&snapshot, &[("x", 2), ("y", 1)]);
        snapshot.set_node(in_zone("a", "y"));
        check(&snapshot, &[("x", 1), ("y", 2)]);
        // A pod that names a node keeps its place in the books, but it is no place to go.
        snapshot.place(&pod, "b");
        snapshot.remove_node("b");
        snapshot.remove_node("b");
        check(&snapshot, &[("y", 2)]);
    }
}
