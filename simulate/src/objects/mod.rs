//! All objects of a world as its store has them, and where and how to read them.

mod fields;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

pub use fields::{count, is_active, is_ready, is_terminal, text};

/// Where pods are in the store.
pub const PODS: &str = "/registry/core/pods/";
/// Where nodes are.
pub const NODES: &str = "/registry/core/nodes/";
/// Where Services are.
pub const SERVICES: &str = "/registry/core/services/";
/// Where EndpointSlices are.
pub const SLICES: &str = "/registry/discovery.k8s.io/endpointslices/";
/// Where budgets are.
pub const BUDGETS: &str = "/registry/policy/poddisruptionbudgets/";
/// Where ReplicaSets are.
pub const REPLICA_SETS: &str = "/registry/apps/replicasets/";
/// Where StatefulSets are.
pub const STATEFUL_SETS: &str = "/registry/apps/statefulsets/";
/// Where DaemonSets are.
pub const DAEMON_SETS: &str = "/registry/apps/daemonsets/";
/// Where Jobs are.
pub const JOBS: &str = "/registry/batch/jobs/";
/// Where Namespaces are.
pub const NAMESPACES: &str = "/registry/core/namespaces/";
/// Where Deployments are.
pub const DEPLOYMENTS: &str = "/registry/apps/deployments/";

/// The name that a store's key ends with.
pub fn name_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

/// An object as it is in the store.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The bytes.
    pub bytes: Bytes,
    /// The same, parsed.
    pub value: Arc<Value>,
    /// Revision of the last write.
    pub revision: u64,
}

/// All objects by the store's key.
#[derive(Debug, Default)]
pub struct Objects {
    all: BTreeMap<String, Stored>,
    by_uid: BTreeMap<String, String>,
    /// Keys by uid of the controlling owner.
    by_controller: BTreeMap<String, BTreeSet<String>>,
    /// Keys of pods by node.
    by_node: BTreeMap<String, BTreeSet<String>>,
}

impl Objects {
    /// One object.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.all.get(key).map(|stored| &*stored.value)
    }

    /// The key and the object of a uid.
    pub fn by_uid(&self, uid: &str) -> Option<(&str, &Value)> {
        let key = self.by_uid.get(uid)?;
        Some((key, self.get(key)?))
    }

    /// What an owner controls, below a prefix.
    pub fn controlled_by<'a>(
        &'a self,
        uid: &str,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Value> {
        let keys = self.by_controller.get(uid).into_iter().flatten();
        keys.filter(move |key| key.starts_with(prefix)).filter_map(|key| self.get(key))
    }

    /// The pods that are bound to a node.
    pub fn on_node(&self, node: &str) -> impl Iterator<Item = &Value> {
        let keys = self.by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.get(key))
    }

    /// One object with its bytes.
    pub fn stored(&self, key: &str) -> Option<&Stored> {
        self.all.get(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Puts an object in the place of what was there; `None` takes it away.
    pub fn set(&mut self, key: &str, stored: Option<Stored>) {
        if let Some(old) = self.all.remove(key) {
            self.index(key, &old.value, |set, key| {
                set.remove(key);
            });
            self.by_uid.remove(text(&old.value, "/metadata/uid"));
        }
        if let Some(new) = stored {
            self.by_uid.insert(text(&new.value, "/metadata/uid").to_owned(), key.to_owned());
            self.index(key, &new.value, |set, key| {
                set.insert(key.to_owned());
            });
            self.all.insert(key.to_owned(), new);
        }
    }

    fn index(&mut self, key: &str, value: &Value, change: fn(&mut BTreeSet<String>, &str)) {
        let owners = value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let mut owners = owners.into_iter().flatten();
        if let Some(owner) = owners.find(|owner| owner["controller"] == true) {
            change(self.by_controller.entry(text(owner, "/uid").to_owned()).or_default(), key);
        }
        if key.starts_with(PODS) {
            change(self.by_node.entry(text(value, "/spec/nodeName").to_owned()).or_default(), key);
        }
    }

    /// All objects below a prefix, such as `/registry/core/pods/`.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let from = self.all.range(prefix.to_owned()..);
        let all = from.map(|(key, stored)| (key.as_str(), &*stored.value));
        all.take_while(move |(key, _)| key.starts_with(prefix))
    }
}

/// One change of one object, parsed.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The store's key.
    pub key: &'a str,
    /// The object before.
    pub before: Option<&'a Value>,
    /// The object after.
    pub after: Option<&'a Value>,
}
