//! Caches of users' kinds, which come and go while the server runs.

use super::Caches;
use super::key::prefix_of;
use super::resource::ResourceCache;
use super::selection::Selection;
use crate::seal::Storage;
use coracle_api::registry::Kind;
use coracle_store::{Committed, Event, Mvcc, Observer, Revision};
use std::sync::Arc;

impl Caches {
    /// The cache of a user's kind, by its resource: all versions share one.
    pub fn custom(&self, kind: &Kind) -> Option<Arc<ResourceCache>> {
        let custom = self.custom.read();
        custom.iter().find(|cache| same_resource(cache.kind(), kind)).cloned()
    }

    /// The cache of a user's kind by group and CamelCase name, whatever the version.
    pub fn custom_by_kind(&self, group: &str, name: &str) -> Option<Arc<ResourceCache>> {
        let custom = self.custom.read();
        let wanted = |kind: &Kind| kind.group == group && kind.kind == name;
        custom.iter().find(|cache| wanted(cache.kind())).cloned()
    }

    /// Makes a cache for a user's kind and fills it from the store; complete when it returns. One that is there for
    /// the same resource is replaced, and its watches end.
    pub(crate) fn add_custom(self: &Arc<Self>, store: &Storage, kind: &'static Kind) {
        store.attach(Arc::new(Joining { caches: Arc::clone(self), kind }));
    }

    /// Brings the objects of a user's kind in line with its schema as it is now: what it no longer has is left out,
    /// what it has a default for is filled in. What the store holds changes with the next write.
    ///
    /// *Source:* defaulting and pruning of what is read from the store, KEP-575.
    pub(crate) fn recast(&self, kind: &'static Kind) {
        let Some(cache) = self.custom(kind) else { return };
        for object in cache.select(&Selection::all(kind)) {
            if let Some(recast) = object.recast(kind) {
                cache.replace(recast);
            }
        }
    }

    /// Forgets the cache of a user's kind.
    pub fn remove_custom(&self, kind: &Kind) {
        self.custom.write().retain(|cache| !same_resource(cache.kind(), kind));
    }

    /// Applies events of users' kinds.
    pub(super) fn apply_custom(&self, events: &[Arc<Event>]) {
        for cache in self.custom.read().iter() {
            let own = |event: &&Arc<Event>| {
                prefix_of(&event.key).is_some_and(|prefix| prefix == cache.prefix().as_bytes())
            };
            let own: Vec<Arc<Event>> = events.iter().filter(own).cloned().collect();
            if !own.is_empty() {
                cache.apply(&own);
            }
        }
    }
}

fn same_resource(one: &Kind, other: &Kind) -> bool {
    one.group == other.group && one.plural == other.plural
}

/// Lets a cache in between two commits: the store starts observers under the lock under which it commits.
struct Joining {
    caches: Arc<Caches>,
    kind: &'static Kind,
}

impl Observer for Joining {
    fn start(&self, mvcc: &Mvcc) {
        let progress = Arc::clone(&self.caches.progress);
        let cache = ResourceCache::new(self.kind, progress, None);
        cache.start(mvcc);
        let prefix = cache.prefix().as_bytes();
        let events: Vec<Arc<Event>> = mvcc
            .events_after(mvcc.compacted())
            .map(|events| events.filter(|e| prefix_of(&e.key) == Some(prefix)).cloned().collect())
            .unwrap_or_default();
        cache.apply(&events);
        cache.fan_out();
        let mut custom = self.caches.custom.write();
        custom.retain(|other| !same_resource(other.kind(), self.kind));
        custom.push(Arc::new(cache));
    }

    /// From now on the caches apply what happens, in one step with all others.
    fn publish(&self, _commits: &[Committed], _compacted: Revision) {}
}
