//! A reader's own queue of changes, joined per object so that it is bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use coracle_api::key::ObjectKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Cache, Change, Object, Subscription};

struct Inbox<K> {
    order: VecDeque<ObjectKey>,
    waiting: HashMap<ObjectKey, Change<K>>,
}

impl<K> Inbox<K> {
    fn push(&mut self, change: &Change<K>) {
        if let Some(waiting) = self.waiting.get_mut(&change.key) {
            waiting.new = change.new.clone();
            return;
        }
        self.order.push_back(change.key.clone());
        self.waiting.insert(change.key.clone(), change.clone());
    }

    /// Takes the oldest change; one that came and went unseen is no change.
    fn pop(&mut self) -> Option<Change<K>> {
        while let Some(key) = self.order.pop_front() {
            let change = self.waiting.remove(&key);
            if let Some(change) = change.filter(|c| c.old.is_some() || c.new.is_some()) {
                return Some(change);
            }
        }
        None
    }
}

/// The changes of a cache for one reader, who gets every object's last state, none twice.
///
/// It holds at most one change per object: several steps that were not read are joined to one
/// from the first `old` to the last `new`. Dropping it ends the subscription.
pub struct Changes<K> {
    inbox: Arc<(Mutex<Inbox<K>>, Notify)>,
    _subscription: Subscription,
}

impl<K> std::fmt::Debug for Changes<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

impl<K: Object> Changes<K> {
    pub(super) fn of(cache: &Cache<K>) -> Changes<K> {
        let inbox = Inbox { order: VecDeque::new(), waiting: HashMap::new() };
        let inbox = Arc::new((Mutex::new(inbox), Notify::new()));
        let filled = Arc::clone(&inbox);
        let subscription = cache.observe(move |change| {
            filled.0.lock().push(change);
            filled.1.notify_one();
        });
        Changes { inbox, _subscription: subscription }
    }

    /// Takes the next change if one is waiting.
    pub fn try_next(&mut self) -> Option<Change<K>> {
        self.inbox.0.lock().pop()
    }

    /// Waits for the next change. Cancel safe; never ends by itself.
    pub async fn next(&mut self) -> Change<K> {
        loop {
            if let Some(change) = self.try_next() {
                return change;
            }
            self.inbox.1.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    fn object(name: &str, revision: u64) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                uid: Some(name.into()),
                resource_version: Some(revision.to_string()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    #[test]
    fn a_slow_reader_gets_one_joined_change_per_object() {
        let cache = Cache::fixed([object("x", 1)]);
        let mut changes = cache.subscribe();
        cache.assume(object("x", 2));
        cache.assume(object("y", 3));
        cache.assume_deleted(&ObjectKey::cluster("y"), "y");
        let change = changes.try_next().unwrap();
        assert!(change.old.is_none());
        assert_eq!(change.new.unwrap().metadata.resource_version.as_deref(), Some("2"));
        assert!(changes.try_next().is_none());
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let cache: Cache<ConfigMap> = Cache::fixed([]);
        let mut changes = cache.subscribe();
        let reader = tokio::spawn(async move { changes.next().await.key.name });
        cache.assume(object("x", 1));
        assert_eq!(reader.await.unwrap(), "x");
    }
}
