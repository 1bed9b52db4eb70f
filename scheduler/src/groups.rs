//! Pods that are placed together or not at all.
//!
//! A pod names its group by a label, and says by an annotation how many pods of it make sense: none of them gets a node
//! before so many of them have one, or can have one now. Members count while their object is there, whether they still
//! run or have ended: one that fails is replaced without waiting for all others to be there again.
//! *Source:* the `minMember` of coscheduling, KEP-2 of kubernetes-sigs/scheduler-plugins; `gang` of KEP-4671.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::Pod;

/// Label of pods: the name of their group within the namespace.
pub const GROUP_LABEL: &str = "coracle.dev/pod-group";

/// Annotation of the same pods: how many of the group are placed together, from 1.
pub const GROUP_MIN_ANNOTATION: &str = "coracle.dev/pod-group-min";

/// The group of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Namespace and name, `default/train`.
    pub key: String,
    /// How many have to be placed together; `None` when the pod does not say it so that it can be read.
    pub min: Option<usize>,
}

impl Group {
    /// Reads a pod; `None` for one without a group.
    pub fn of(pod: &Pod) -> Option<Group> {
        let metadata = &pod.metadata;
        let name = metadata.labels.as_ref()?.get(GROUP_LABEL).filter(|name| !name.is_empty())?;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let min = metadata.annotations.as_ref().and_then(|all| all.get(GROUP_MIN_ANNOTATION));
        let min = min.and_then(|text| text.parse().ok()).filter(|min| *min > 0);
        Some(Group { key: format!("{namespace}/{name}"), min })
    }
}

#[derive(Debug, Default)]
struct Members {
    placed: BTreeSet<String>,
    waiting: BTreeSet<String>,
}

/// The known members of each group, by uid; bounded by the pods of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    all: HashMap<String, Members>,
    /// The group in which a pod is counted.
    group_of: HashMap<String, String>,
}

impl Groups {
    /// Takes that a pod has a node. Tells whether that is new.
    pub(crate) fn place(&mut self, group: &Group, uid: &str) -> bool {
        let members = self.enter(group, uid);
        members.waiting.remove(uid);
        members.placed.insert(uid.to_owned())
    }

    /// Takes that a pod waits for a node. Tells whether that is new.
    pub(crate) fn wait(&mut self, group: &Group, uid: &str) -> bool {
        let members = self.enter(group, uid);
        members.placed.remove(uid);
        members.waiting.insert(uid.to_owned())
    }

    /// Forgets a pod.
    pub(crate) fn leave(&mut self, uid: &str) {
        let Some(key) = self.group_of.remove(uid) else { return };
        if let Some(members) = self.all.get_mut(&key) {
            members.placed.remove(uid);
            members.waiting.remove(uid);
            if members.placed.is_empty() && members.waiting.is_empty() {
                self.all.remove(&key);
            }
        }
    }

    /// Gives how many members have a node.
    pub(crate) fn placed(&self, group: &Group) -> usize {
        self.all.get(&group.key).map_or(0, |members| members.placed.len())
    }

    /// Gives the uids of the members that wait, in the order of their text.
    pub(crate) fn waiting(&self, group: &Group) -> Vec<String> {
        let waiting = self.all.get(&group.key).into_iter().flat_map(|members| &members.waiting);
        waiting.cloned().collect()
    }

    /// A pod may have been relabelled into another group.
    fn enter(&mut self, group: &Group, uid: &str) -> &mut Members {
        if self.group_of.get(uid).is_some_and(|known| *known != group.key) {
            self.leave(uid);
        }
        self.group_of.insert(uid.to_owned(), group.key.clone());
        self.all.entry(group.key.clone()).or_default()
    }
}
