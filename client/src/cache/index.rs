//! A second way into a cache: objects by a value of theirs that is not their name.
//!
//! Comes in: the cache's changes, before anybody is told who subscribed later. Goes out: the
//! objects of a value, without a look at the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coracle_api::key::ObjectKey;
use parking_lot::RwLock;

use super::{Cache, Change, Object, Subscription};

type Groups<K> = HashMap<String, BTreeMap<ObjectKey, Arc<K>>>;

/// Objects of a cache by a value that a function gives of each. Kept up to date while it lives.
///
/// Whoever observes the cache after the index was made finds every change in it already.
pub struct Index<K> {
    groups: Arc<RwLock<Groups<K>>>,
    _feed: Subscription,
}

impl<K> std::fmt::Debug for Index<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl<K: Object> Index<K> {
    /// Makes the index of a cache. `value` gives what an object is found by; `None`: not at all.
    pub fn of(cache: &Cache<K>, value: fn(&K) -> Option<&str>) -> Index<K> {
        let groups: Arc<RwLock<Groups<K>>> = Arc::default();
        let feed = cache.observe({
            let groups = Arc::clone(&groups);
            move |change| apply(&mut groups.write(), change, value)
        });
        Index { groups, _feed: feed }
    }

    /// Gives the objects of a value, ordered by namespace and name.
    pub fn get(&self, value: &str) -> Vec<Arc<K>> {
        self.groups
            .read()
            .get(value)
            .map_or_else(Vec::new, |group| group.values().cloned().collect())
    }
}

fn apply<K>(groups: &mut Groups<K>, change: &Change<K>, value: fn(&K) -> Option<&str>) {
    let old = change.old.as_ref().and_then(|object| value(object));
    let new = change.new.as_ref().and_then(|object| value(object));
    if let Some(old) = old.filter(|old| Some(*old) != new)
        && let Some(group) = groups.get_mut(old)
    {
        group.remove(&change.key);
        if group.is_empty() {
            groups.remove(old);
        }
    }
    if let (Some(new), Some(object)) = (new, &change.new) {
        let group = groups.entry(new.to_owned()).or_default();
        group.insert(change.key.clone(), Arc::clone(object));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn pod(name: &str, node: &str, revision: u64) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "a", "uid": name,
            "resourceVersion": revision.to_string()}, "spec": {"nodeName": node, "containers": []}}))
        .unwrap()
    }

    #[test]
    fn objects_are_found_by_their_value_as_it_is_now() {
        let cache = Cache::fixed([pod("x", "n1", 1), pod("y", "n1", 2), pod("z", "n2", 3)]);
        let index = Index::of(&cache, |pod: &Pod| pod.spec.as_ref()?.node_name.as_deref());
        let names = |node: &str| -> Vec<String> {
            index.get(node).iter().map(|pod| pod.metadata.name.clone().unwrap()).collect()
        };
        assert_eq!(names("n1"), ["x", "y"]);
        cache.assume(pod("x", "n2", 4));
        assert_eq!(
            (names("n1"), names("n2")),
            (vec!["y".to_owned()], vec!["x".into(), "z".into()])
        );
        cache.assume_deleted(&ObjectKey::namespaced("a", "y"), "y");
        assert!(names("n1").is_empty() && index.groups.read().len() == 1);
    }
}
