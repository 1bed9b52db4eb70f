//! The edge that follows definitions: reads them all, puts the server in the state that they ask for.
//!
//! Level, not edge: each round looks at all definitions, so a missed event costs nothing but time.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use coracle_api::meta;
use coracle_api::registry::{self, Kind};
use coracle_store::{Guard, Write};
use serde_json::Value;

use super::{Served, convert, establish, is_converted};
use crate::cache::{self, Object, Selection, WatchFrom};
use crate::clock;
use crate::deletion::{self, Plan};
use crate::metadata;
use crate::options::DeleteOptions;
use crate::request_info::Verb;
use crate::server::Core;

/// Objects of a definition that goes which one commit removes, so that no other write waits long.
const REMOVED_AT_ONCE_MAX: usize = 256;

/// Time after which a round that left work behind (objects with finalizers, a lost race) is done again.
const RETRY: Duration = Duration::from_millis(500);

/// What a round left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Work,
}

/// Follows the definitions until the server ends.
pub(crate) async fn follow(core: Weak<Core>) {
    let Some(kind) = registry::by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    else {
        return;
    };
    loop {
        let Some((shutdown, cache)) = core.upgrade().and_then(|core| {
            Some((core.shutdown.clone(), Arc::clone(core.caches.resource(kind)?)))
        }) else {
            return;
        };
        let Ok(mut watch) = cache.watch(Selection::all(kind), WatchFrom::Now) else { return };
        drop(cache);
        loop {
            let left = match core.upgrade() {
                Some(core) => core.settle_definitions().await,
                None => return,
            };
            let next = async {
                match left {
                    Left::Nothing => watch.next().await.is_some(),
                    Left::Work => tokio::time::timeout(RETRY, watch.next())
                        .await
                        .is_ok_and(|events| events.is_none())
                        .then_some(())
                        .is_none(),
                }
            };
            tokio::select! {
                goes_on = next => if !goes_on { break },
                () = shutdown.cancelled() => return,
            }
        }
    }
}

impl Core {
    /// Does one round.
    async fn settle_definitions(&self) -> Left {
        let Some(kind) =
            registry::by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
        else {
            return Left::Nothing;
        };
        let _alone = self.definitions.round.lock().await;
        let Ok(cache) = self.objects(kind) else { return Left::Nothing };
        let found = cache.select(&Selection::all(kind));
        let mut values: Vec<Value> = found.iter().map(|object| object.value()).collect();
        let mut left = Left::Nothing;
        for index in 0..values.len() {
            let others: Vec<&Value> = values.iter().collect();
            let Some(definition) = values.get(index) else { continue };
            let status = establish::status(definition, &others, &metadata::time(clock::now()));
            let changed = definition["status"] != status;
            let (Some(definition), Some(object)) = (values.get_mut(index), found.get(index)) else {
                continue;
            };
            definition["status"] = status;
            if changed && !self.store_definition(kind, object, definition).await {
                left = Left::Work;
            }
        }
        self.publish_definitions(&values);
        self.settle_services(&self.definitions.kinds()).await;
        for definition in values.iter().filter(|one| meta::deletion_timestamp(one).is_none()) {
            if !self.migrate(definition).await {
                left = Left::Work;
            }
        }
        for definition in values.iter().filter(|one| meta::deletion_timestamp(one).is_some()) {
            if !self.clean_up(kind, definition).await {
                left = Left::Work;
            }
        }
        left
    }

    /// Stores a definition's new status; `false` when somebody else was faster, who will be heard of.
    async fn store_definition(&self, kind: &Kind, object: &Object, new: &Value) -> bool {
        let put =
            Write::put(object.key.clone(), cache::encode(kind, new), Guard::At(object.revision));
        self.store.commit(vec![put]).await.is_ok()
    }

    /// Serves what is established, and forgets what is no more.
    fn publish_definitions(&self, definitions: &[Value]) {
        let mut kinds: Vec<&'static Kind> = Vec::new();
        let (mut storages, mut going) = (Vec::new(), HashSet::new());
        for definition in definitions.iter().filter(|one| establish::is_established(&one["status"]))
        {
            match registry::kinds_of(definition) {
                Ok((served, storage)) => {
                    kinds.extend(served);
                    storages.push(storage);
                    if meta::deletion_timestamp(definition).is_some() {
                        going.insert((storage.group, storage.plural));
                    }
                }
                Err(error) => {
                    let name = meta::name(definition);
                    tracing::warn!(definition = name, %error, "cannot serve a definition's objects");
                }
            }
        }
        // Stable: versions of one group stay in the order of their priority.
        kinds.sort_by_key(|kind| kind.group);
        let before = self.definitions.kinds();
        let same = before.len() == kinds.len()
            && before.iter().zip(&kinds).all(|(one, other)| std::ptr::eq(*one, *other));
        for storage in &storages {
            let cached = self.caches.custom(storage);
            if cached.is_none_or(|cache| needs_new_cache(cache.kind(), storage)) {
                self.caches.add_custom(&self.store, storage);
                if !is_converted(storage) {
                    self.caches.recast(storage);
                }
            } else if !is_converted(storage) && has_new_schema(&before, storage) {
                self.caches.recast(storage);
            }
        }
        *self.definitions.served.write() = Arc::new(Served { kinds: kinds.clone(), going });
        if !same {
            self.discovery.publish(&kinds);
            self.openapi.publish(&kinds);
        }
        let gone = |kind: &&&Kind| {
            !storages.iter().any(|one| (one.group, one.plural) == (kind.group, kind.plural))
        };
        before.iter().filter(gone).for_each(|kind| self.caches.remove_custom(kind));
    }

    /// Brings objects that are kept in a former version into that in which they are kept now, by the definition's
    /// webhook; `false` while some are left.
    async fn migrate(&self, definition: &Value) -> bool {
        let Ok((_, storage)) = registry::kinds_of(definition) else { return true };
        let stored = definition["status"]["storedVersions"].as_array().map_or(0, Vec::len);
        if !is_converted(storage) || stored < 2 {
            return true;
        }
        let Some(cache) = self.caches.custom(storage) else { return true };
        let version = storage.api_version();
        let all = cache.select(&Selection::all(storage));
        let mut old: Vec<(Arc<Object>, Value)> =
            all.into_iter().map(|object| (Arc::clone(&object), object.value())).collect();
        old.retain(|(_, value)| value["apiVersion"] != *version);
        for batch in old.chunks(REMOVED_AT_ONCE_MAX) {
            let values = batch.iter().map(|(_, value)| value.clone()).collect();
            let converted = match convert(&self.webhooks, storage, values).await {
                Ok(converted) => converted,
                Err(status) => {
                    let name = meta::name(definition);
                    tracing::warn!(definition = name, %status, "objects stay in a former version");
                    return false;
                }
            };
            for ((object, _), new) in batch.iter().zip(converted) {
                let guard = Guard::At(object.revision);
                let write = Write::put(object.key.clone(), cache::encode(storage, &new), guard);
                if let Err(error) = self.store.commit(vec![write]).await {
                    tracing::debug!(%error, "an object changed while it was migrated");
                    return false;
                }
            }
        }
        true
    }

    /// Removes the objects of a definition that goes, and at last the definition; `false` while some are left.
    async fn clean_up(&self, kind: &Kind, definition: &Value) -> bool {
        if !meta::finalizers(definition).any(|finalizer| finalizer == establish::CLEANUP) {
            return true;
        }
        if let Ok((_, storage)) = registry::kinds_of(definition)
            && let Some(cache) = self.caches.custom(storage)
        {
            let mut writes: Vec<Write> = Vec::new();
            for object in cache.select(&Selection::all(storage)) {
                let guard = Guard::At(object.revision);
                match deletion::plan(&object.value(), &DeleteOptions::default(), clock::now()) {
                    Plan::Remove => writes.push(Write::delete(object.key.clone(), guard)),
                    Plan::Mark(new) => {
                        let content = cache::encode(storage, &new);
                        writes.push(Write::put(object.key.clone(), content, guard));
                    }
                    Plan::Keep => {}
                }
            }
            for batch in writes.chunks(REMOVED_AT_ONCE_MAX) {
                if let Err(error) = self.store.commit(batch.to_vec()).await {
                    tracing::debug!(%error, "objects of a definition that goes changed meanwhile");
                }
            }
            if !cache.is_empty() {
                return false;
            }
        }
        self.release(kind, definition).await
    }

    async fn release(&self, kind: &Kind, definition: &Value) -> bool {
        let Ok(cache) = self.objects(kind) else { return true };
        let Some(object) = cache.get("", meta::name(definition)) else { return true };
        let mut new = object.value();
        meta::remove_finalizer(&mut new, establish::CLEANUP);
        let guard = Guard::At(object.revision);
        let write = if metadata::is_finished(&new) {
            Write::delete(object.key.clone(), guard)
        } else {
            Write::put(object.key.clone(), cache::encode(kind, &new), guard)
        };
        self.store.commit(vec![write]).await.is_ok()
    }

    /// Does a round before a write of a definition is answered, so that what it defines is served by then.
    pub(crate) async fn definitions_changed(&self, verb: Verb) {
        let writes =
            [Verb::Create, Verb::Update, Verb::Patch, Verb::Delete, Verb::DeleteCollection];
        if writes.contains(&verb) {
            // What is left, the task that follows definitions does.
            let _left = self.settle_definitions().await;
        }
    }

    /// Serves the definitions that the store has; for the start, before anyone asks.
    pub(crate) async fn restore_definitions(&self) {
        // Twice, because the first round may have lost a race against nobody but itself.
        if self.settle_definitions().await == Left::Work {
            self.settle_definitions().await;
        }
    }
}

/// Whether a cache was made for a kind whose objects are looked at differently.
/// Whether objects were kept by another schema until now.
fn has_new_schema(before: &[&'static Kind], storage: &Kind) -> bool {
    let same = |kind: &&&'static Kind| (kind.group, kind.plural) == (storage.group, storage.plural);
    let written = |kind: &Kind| kind.custom.map(|custom| &custom.version.written);
    let old = before.iter().find(same).map(|kind| kind.stored_kind());
    old.is_none_or(|old| written(old) != written(storage))
}

fn needs_new_cache(cached: &Kind, wanted: &Kind) -> bool {
    cached.namespaced != wanted.namespaced || cached.rules.selectable != wanted.rules.selectable
}
