//! All objects in memory: what every read and every watch is served from.
//!
//! A commit of the store is applied here before its writer hears of it, so a read sees every write that was
//! acknowledged before the read began. Objects are JSON bytes, encoded once when they are written, and a small header;
//! lists put the bytes side by side, watches copy them, nothing is decoded. The history goes back as far as the
//! store's, which bounds it by age, count and size; watches and pages from before it get 410.
//!
//! Never here: HTTP, and rules about objects.

mod change;
mod custom;
mod encode;
mod fill;
mod head;
mod header;
mod hub;
mod key;
mod list;
mod marks;
mod object;
mod progress;
mod resource;
mod selection;
mod sketch;
mod token;
mod tree;
mod watch;

pub use change::{Change, EventType, WatchEvent, write_event};
pub use encode::encode;
pub use header::Header;
pub use hub::WATCH_EVENTS_QUEUED_MAX;
pub use key::{object_key, resource_prefix};
pub use list::{ListRequest, ListRevision, Listing};
pub use object::Object;
pub use resource::ResourceCache;
pub use selection::Selection;
pub use sketch::Sketch;
pub use watch::{Watch, WatchFrom};

use crate::seal::Sealer;
use coracle_api::registry::{self, Kind};
use coracle_store::{Committed, Event, Mvcc, Observer, Revision, Store};
use parking_lot::RwLock;
use progress::Progress;
use std::collections::HashMap;
use std::sync::Arc;

/// The caches of all resources.
pub struct Caches {
    resources: Vec<Arc<ResourceCache>>,
    by_prefix: HashMap<Vec<u8>, usize>,
    /// Those of users' kinds.
    custom: RwLock<Vec<Arc<ResourceCache>>>,
    progress: Arc<Progress>,
}

impl Caches {
    /// Makes a cache for every kind of the registry and fills it from the store; complete when it returns.
    pub fn start(store: &Store) -> Arc<Caches> {
        Caches::start_sealed(store, &Sealer::default())
    }

    /// The same over a store of which parts are sealed; asks `Sealer::failed` whether all could be opened.
    pub fn start_sealed(store: &Store, sealer: &Sealer) -> Arc<Caches> {
        let caches = Arc::new(Caches::of(registry::kinds(), sealer));
        store.attach(Arc::clone(&caches) as Arc<dyn Observer>);
        caches
    }

    fn of(kinds: &'static [Kind], sealer: &Sealer) -> Caches {
        let progress = Arc::new(Progress::default());
        let cache = |kind: &'static Kind| {
            let rule = sealer.of_resource(kind.group, kind.plural);
            Arc::new(ResourceCache::new(kind, Arc::clone(&progress), rule))
        };
        // One that is kept in another version has no objects of its own.
        let kept = kinds.iter().filter(|kind| kind.stored.is_none());
        let resources: Vec<Arc<ResourceCache>> = kept.map(cache).collect();
        let prefix = |(index, cache): (usize, &Arc<ResourceCache>)| (cache.prefix().into(), index);
        let by_prefix = resources.iter().enumerate().map(prefix).collect();
        Caches { resources, by_prefix, custom: RwLock::default(), progress }
    }

    /// The cache of a kind; `None` for one that is not of the registry.
    pub fn resource(&self, kind: &Kind) -> Option<&Arc<ResourceCache>> {
        self.resources.iter().find(|cache| cache.kind() == kind)
    }

    /// The cache of a resource by group and plural.
    pub fn by_resource(&self, group: &str, plural: &str) -> Option<&Arc<ResourceCache>> {
        let wanted = |kind: &Kind| kind.group == group && kind.plural == plural;
        self.resources.iter().find(|cache| wanted(cache.kind()))
    }

    /// The cache of a resource of users' kinds by group and plural.
    pub(crate) fn custom_resource(&self, group: &str, plural: &str) -> Option<Arc<ResourceCache>> {
        let wanted = |kind: &Kind| kind.group == group && kind.plural == plural;
        self.custom.read().iter().find(|cache| wanted(cache.kind())).cloned()
    }

    /// All caches, in the order of the registry.
    pub fn resources(&self) -> &[Arc<ResourceCache>] {
        &self.resources
    }

    /// One object by its resource, at the latest revision.
    pub fn get(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        self.by_resource(group, plural)?.get(namespace, name)
    }

    /// The latest revision that every read sees.
    pub fn revision(&self) -> Revision {
        self.progress.published()
    }

    /// Waits until every read sees a revision; does not end for one that never comes. Cancel safe.
    pub fn wait_until(&self, revision: Revision) -> impl Future<Output = ()> + '_ {
        self.progress.wait(revision)
    }

    fn apply<'a>(&self, events: impl Iterator<Item = &'a Arc<Event>>) {
        let mut by_resource: Vec<Vec<Arc<Event>>> = vec![Vec::new(); self.resources.len()];
        let mut others: Vec<Arc<Event>> = Vec::new();
        for event in events {
            let index = key::prefix_of(&event.key).and_then(|prefix| self.by_prefix.get(prefix));
            match index.and_then(|index| by_resource.get_mut(*index)) {
                Some(events) => events.push(Arc::clone(event)),
                None => others.push(Arc::clone(event)),
            }
        }
        if !others.is_empty() {
            self.apply_custom(&others);
        }
        for (cache, events) in self.resources.iter().zip(&by_resource) {
            if !events.is_empty() {
                cache.apply(events);
            }
        }
    }
}

impl Observer for Caches {
    fn start(&self, mvcc: &Mvcc) {
        for cache in &self.resources {
            cache.start(mvcc);
        }
        if let Ok(events) = mvcc.events_after(mvcc.compacted()) {
            self.apply(events);
        }
        self.progress.publish(mvcc.revision());
        self.acknowledged();
    }

    fn publish(&self, commits: &[Committed], compacted: Revision) {
        self.apply(commits.iter().flat_map(|commit| &commit.events));
        if let Some(last) = commits.last() {
            self.progress.publish(last.revision);
        }
        for cache in self.resources.iter().chain(self.custom.read().iter()) {
            cache.compact(compacted);
        }
    }

    fn acknowledged(&self) {
        for cache in self.resources.iter().chain(self.custom.read().iter()) {
            cache.fan_out();
        }
        self.progress.send();
    }
}

#[cfg(test)]
mod tests;
