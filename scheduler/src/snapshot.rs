//! The nodes with what runs on them, and what has been decided for them but not yet seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coracle_api::fit::NodeState;
use k8s_openapi::api::core::v1::Node;

use crate::budgets::Budgets;
use crate::classes::Classes;
use crate::domains::{Domains, Values};
use crate::namespaces::Namespaces;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::profile::Profiles;
use crate::volumes::Volumes;

/// All nodes, and where each placed pod is.
///
/// Holds for every pod at most one place; placing it again moves it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// By slot; a slot without a node and without pods is free.
    slots: Vec<NodeInfo>,
    by_name: HashMap<String, usize>,
    free: Vec<usize>,
    /// Slots of known nodes in the order in which they came.
    known: Vec<usize>,
    places: HashMap<String, usize>,
    classes: Classes,
    /// Of the known nodes.
    domains: Domains,
    /// How many known nodes hold each image.
    images: HashMap<String, usize>,
    /// Pods that wait for a node to be cleared for them, by uid.
    nominated: BTreeMap<String, (Arc<PodInfo>, String)>,
    /// Labels of namespaces.
    pub namespaces: Namespaces,
    /// PodDisruptionBudgets.
    pub budgets: Budgets,
    /// Claims and volumes.
    pub volumes: Volumes,
    /// How the scheduler that a pod asks for chooses.
    pub profiles: Profiles,
}

impl Snapshot {
    /// Gives the known nodes in the order in which they came.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeInfo> {
        self.known.iter().map(|slot| &self.slots[*slot])
    }

    /// Gives the known nodes, beginning with the one at `start` and going round.
    pub fn nodes_from(&self, start: usize) -> impl Iterator<Item = &NodeInfo> {
        let (late, early) = (&self.known[start..], &self.known[..start]);
        late.iter().chain(early).map(|slot| &self.slots[*slot])
    }

    /// Gives one node, known or only named by pods.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.by_name.get(name).map(|slot| &self.slots[*slot])
    }

    /// Gives the node in a slot that a class or another node names.
    pub fn in_slot(&self, slot: usize) -> &NodeInfo {
        &self.slots[slot]
    }

    /// Gives the classes of placed pods.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Keeps counts for the labels of nodes that a pod asks about, so that decisions about it and
    /// its like do not count anew.
    pub fn prepare(&mut self, pod: &PodInfo) {
        for label in pod.terms.topology_keys() {
            if !self.classes.keeps(label) {
                let slots = &self.slots;
                self.classes.keep(label, |slot| &slots[slot]);
                self.domains.keep(label, self.known.iter().map(|slot| &slots[*slot]));
            }
        }
    }

    /// Gives how many known nodes have each value of a label, `None` if that is not kept: see [`Snapshot::prepare`].
    pub(crate) fn values_of(&self, label: &str) -> Option<&Values> {
        self.domains.values(label)
    }

    /// Gives how many nodes hold an image.
    pub fn nodes_with_image(&self, name: &str) -> usize {
        self.images.get(name).copied().unwrap_or_default()
    }

    /// Gives the name of the node on which a pod has its place.
    pub fn place_of(&self, uid: &str) -> Option<&str> {
        self.places.get(uid).map(|slot| self.slots[*slot].name.as_str())
    }

    /// Takes a node as it is now.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let Some(name) = node.metadata.name.clone() else { return };
        let slot = self.slot(&name);
        self.count_images(slot, false);
        if self.slots[slot].node.is_none() {
            self.known.push(slot);
        }
        self.classes.relabel(&self.slots[slot], -1);
        self.domains.remove(&self.slots[slot]);
        self.slots[slot].set(node);
        self.domains.add(&self.slots[slot]);
        self.classes.relabel(&self.slots[slot], 1);
        self.count_images(slot, true);
    }

    /// Forgets a node; pods that still name it keep their place in the books.
    pub fn remove_node(&mut self, name: &str) {
        let Some(slot) = self.by_name.get(name).copied() else { return };
        self.count_images(slot, false);
        self.classes.relabel(&self.slots[slot], -1);
        self.domains.remove(&self.slots[slot]);
        self.slots[slot].unset();
        self.known.retain(|known| *known != slot);
        self.drop_if_empty(slot);
    }

    /// Gives a pod its place on a node.
    pub fn place(&mut self, pod: &Arc<PodInfo>, node: &str) {
        if self.place_of(pod.uid()) == Some(node)
            && self.node(node).and_then(|info| info.pods.get(pod.uid())).is_some_and(|placed| {
                placed.class == pod.class
                    && placed.request == pod.request
                    && placed.priority() == pod.priority()
            })
        {
            self.refresh(pod);
            return;
        }
        self.displace(pod.uid());
        self.nominated.remove(pod.uid());
        let slot = self.slot(node);
        self.slots[slot].add(Arc::clone(pod));
        self.classes.add(pod, &self.slots[slot]);
        self.places.insert(pod.uid().to_owned(), slot);
    }

    /// Takes a pod's place away; gives the name of the node that it was on.
    pub fn displace(&mut self, uid: &str) -> Option<String> {
        let slot = self.places.remove(uid)?;
        let name = self.slots[slot].name.clone();
        if let Some(placed) = self.slots[slot].remove(uid) {
            self.classes.remove(&placed, &self.slots[slot]);
        }
        self.drop_if_empty(slot);
        Some(name)
    }

    /// Keeps room on a node for a pod that others were displaced for.
    pub fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.nominated.insert(pod.uid().to_owned(), (pod, node.to_owned()));
    }

    /// Gives the node that is kept for a pod.
    pub fn nomination_of(&self, uid: &str) -> Option<&str> {
        self.nominated.get(uid).map(|(_, node)| node.as_str())
    }

    /// Ends [`Snapshot::nominate`]; gives the node that was kept.
    pub fn give_up(&mut self, uid: &str) -> Option<String> {
        self.nominated.remove(uid).map(|(_, node)| node)
    }

    /// Gives the pods that wait for room on a node and that must not be overtaken by `pod`.
    pub fn nominated_before<'a>(
        &'a self,
        node: &'a str,
        pod: &'a PodInfo,
    ) -> impl Iterator<Item = &'a Arc<PodInfo>> {
        self.nominated
            .values()
            .filter(move |(_, wanted)| wanted == node)
            .map(|(waiting, _)| waiting)
            .filter(|waiting| waiting.priority() >= pod.priority() && waiting.uid() != pod.uid())
    }

    /// Tells whether any pod waits for room.
    pub fn has_nominated(&self) -> bool {
        !self.nominated.is_empty()
    }

    /// Takes the newer state of a pod whose place, class and request stay.
    fn refresh(&mut self, pod: &Arc<PodInfo>) {
        if let Some(slot) = self.places.get(pod.uid()) {
            self.slots[*slot].pods.insert(pod.uid().to_owned(), Arc::clone(pod));
        }
    }

    fn slot(&mut self, name: &str) -> usize {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or(self.slots.len());
        let info = NodeInfo { slot, name: name.to_owned(), ..NodeInfo::default() };
        match self.slots.get_mut(slot) {
            Some(free) => *free = info,
            None => self.slots.push(info),
        }
        self.by_name.insert(name.to_owned(), slot);
        slot
    }

    fn count_images(&mut self, slot: usize, there: bool) {
        for image in self.slots[slot].images.keys() {
            let count = self.images.entry(image.clone()).or_default();
            *count = if there { *count + 1 } else { count.saturating_sub(1) };
        }
        if !there {
            self.images.retain(|_, count| *count > 0);
        }
    }

    fn drop_if_empty(&mut self, slot: usize) {
        let info = &mut self.slots[slot];
        if info.node.is_none() && info.pods.is_empty() {
            self.by_name.remove(&info.name);
            info.name.clear();
            info.state = NodeState::default();
            self.free.push(slot);
        }
    }
}
