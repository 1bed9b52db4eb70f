//! When a set is looked at because of a change.
//!
//! Each look that finds a change writes the status, which is a change of the set itself and no reason for haste.

use std::time::Duration;

use coracle_client::cache::Object;
use coracle_client::{Cache, Change, ObjectKey, Queue};
use k8s_openapi::api::core::v1::Pod;

use super::Replicated;
use crate::gather::gathers;
use crate::objects::{is_deleting, uid};
use crate::owned;

/// Gives how long changes of a set's pods gather.
fn wait<R: Replicated>(owner: &R) -> Duration {
    gathers(usize::try_from(owner.size()).unwrap_or(0))
}

/// Adds an owner that changed: at once when something else is asked of it than before; its own status is no haste.
pub(super) fn owner_changed<R: Replicated>(queue: &Queue<ObjectKey>, change: &Change<R>) {
    let both = change.old.as_ref().zip(change.new.as_ref());
    let same = both.filter(|(old, new)| asks_the_same(&***old, &***new));
    let after = same.map_or(Duration::ZERO, |(_, new)| wait(&**new));
    queue.add_after(change.key.clone(), after);
}

/// Adds the owners that a pod's change concerns, after a while for large ones.
pub(super) fn pod_changed<R: Replicated>(
    queue: &Queue<ObjectKey>,
    owners: &Cache<R>,
    change: &Change<Pod>,
) {
    let add = |key: ObjectKey, _uid: &str| {
        let after = owners.get_key(&key).map_or(Duration::ZERO, |owner| wait(&*owner));
        queue.add_after(key, after);
    };
    owned::find_owners(add, owners, change, R::selector);
}

fn asks_the_same<K: Object>(old: &K, new: &K) -> bool {
    let (old, new) = (old.meta(), new.meta());
    uid(old) == uid(new) && old.generation == new.generation && is_deleting(old) == is_deleting(new)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use coracle_client::{Outcome, drive};
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::{Value, json};
    use tokio::time::sleep;

    use super::*;
    use crate::gather::GATHERS_MAX;

    fn set(pods: i32, told: i32, revision: i32) -> Arc<ReplicaSet> {
        let set = json!({"metadata": {"name": "web", "namespace": "a", "uid": "u", "generation": 1,
                "resourceVersion": revision.to_string()},
            "spec": {"replicas": pods, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"replicas": told}});
        serde_json::from_value(set).map(Arc::new).unwrap()
    }

    fn ready(pod: usize) -> Change<Pod> {
        let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u",
            "controller": true}]);
        let state = |status: Value| -> Option<Arc<Pod>> {
            let meta =
                json!({"name": format!("p{pod}"), "namespace": "a", "ownerReferences": owner});
            let pod = json!({"metadata": meta, "status": status});
            Some(serde_json::from_value(pod).map(Arc::new).unwrap())
        };
        let key = ObjectKey::namespaced("a", format!("p{pod}"));
        let phase = |phase: &str| state(json!({"phase": phase}));
        Change { key, old: phase("Pending"), new: phase("Running") }
    }

    /// A pod becomes ready each millisecond, and each look writes the status: how many looks there are.
    async fn looks(pods: i32) -> usize {
        let (queue, looked) = (Queue::new(), Arc::new(AtomicUsize::new(0)));
        let owners = Cache::fixed([ReplicaSet::clone(&set(pods, pods, 1))]);
        let drive = drive("test", queue.clone(), 1, {
            let (queue, looked) = (queue.clone(), Arc::clone(&looked));
            move |key: ObjectKey| {
                let told = looked.fetch_add(1, Ordering::Relaxed) + 2;
                let status = Change {
                    key,
                    old: Some(set(pods, pods, 1)),
                    new: Some(set(pods, pods, i32::try_from(told).unwrap_or(0))),
                };
                // A look that nothing came after has nothing to tell.
                if told < 10_000 {
                    owner_changed(&queue, &status);
                }
                async { Ok::<_, String>(Outcome::Done) }
            }
        });
        for pod in 0..usize::try_from(pods).unwrap_or(0) {
            pod_changed(&queue, &owners, &ready(pod));
            sleep(Duration::from_millis(1)).await;
        }
        let before = looked.load(Ordering::Relaxed);
        sleep(GATHERS_MAX).await;
        assert!(looked.load(Ordering::Relaxed) > before, "the last change was looked at, too");
        drive.stop().await;
        before
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_set_is_looked_at_now_and_then() {
        // 2 s of changes, gathered for 40 ms each; 10 s, for 200 ms each.
        let (few, many) = (looks(2_000).await, looks(10_000).await);
        assert!((40..=60).contains(&few), "{few}");
        assert!((40..=60).contains(&many), "{many}");
    }

    #[test]
    fn what_is_asked_of_a_set_is_looked_at_at_once() {
        let at_once = |change: &Change<ReplicaSet>| {
            let queue: Queue<ObjectKey> = Queue::new();
            owner_changed(&queue, change);
            !queue.is_idle()
        };
        let change = |old: Option<Arc<ReplicaSet>>, new: Option<Arc<ReplicaSet>>| Change {
            key: ObjectKey::namespaced("a", "web"),
            old,
            new,
        };
        let large = || set(10_000, 0, 1);
        let mut asked = ReplicaSet::clone(&large());
        asked.metadata.generation = Some(2);
        let mut goes = ReplicaSet::clone(&large());
        goes.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let mut another = ReplicaSet::clone(&large());
        another.metadata.uid = Some("v".to_owned());
        assert!(at_once(&change(None, Some(large()))));
        assert!(at_once(&change(Some(large()), None)));
        for new in [asked, goes, another] {
            assert!(at_once(&change(Some(large()), Some(Arc::new(new)))));
        }
        assert!(!at_once(&change(Some(large()), Some(set(10_000, 5_000, 2)))));
        // Whoever goes to nothing has all its pods still.
        assert!(!at_once(&change(Some(set(0, 10_000, 1)), Some(set(0, 9_000, 2)))));
        assert!(at_once(&change(Some(set(3, 0, 1)), Some(set(3, 1, 2)))));
    }
}
