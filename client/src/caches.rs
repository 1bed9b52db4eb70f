//! One cache per kind for a whole process.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::cache::{Cache, Object, Scope, Trim};
use crate::client::Client;
use crate::lean;

/// Hands out the one [`Cache`] of each kind (all namespaces), started at the first call.
///
/// Controllers, scheduler and network of a process share it, so that each object is in memory
/// once. For a kind of which only the metadata matters ask for
/// `get::<kube::core::PartialObjectMeta<Secret>>()`: then only that is transferred, and kept without labels and
/// annotations.
#[derive(Clone, Debug)]
pub struct Caches {
    client: Client,
    by_kind: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>>,
    /// How pods are kept.
    pods: Trim<Pod>,
}

impl Caches {
    /// Makes an empty registry; nothing is followed yet.
    pub fn new(client: Client) -> Caches {
        Caches { client, by_kind: Arc::default(), pods: |_| {} }
    }

    /// The same for controllers and scheduler: pods are kept without what none of them reads, see [`lean`].
    pub fn lean(client: Client) -> Caches {
        Caches { pods: lean::pod, ..Caches::new(client) }
    }

    /// Gives the client by which the caches follow the API.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Gives the cache of a kind, and starts it when it is the first call. Needs a tokio runtime.
    pub fn get<K: Object>(&self) -> Cache<K> {
        let mut by_kind = self.by_kind.lock();
        let known = by_kind.get(&TypeId::of::<K>()).and_then(|any| any.downcast_ref::<Cache<K>>());
        if let Some(cache) = known {
            return cache.clone();
        }
        let trim: Box<dyn Any> = Box::new(self.pods);
        let cache = match trim.downcast::<Trim<K>>() {
            Ok(trim) => Cache::start_trimmed(&self.client, Scope::all(), *trim),
            Err(_other_kind) => Cache::start(&self.client, Scope::all()),
        };
        by_kind.insert(TypeId::of::<K>(), Box::new(cache.clone()));
        cache
    }

    /// Puts a cache in place of one that would be started: for tests.
    pub fn put<K: Object>(&self, cache: Cache<K>) {
        self.by_kind.lock().insert(TypeId::of::<K>(), Box::new(cache));
    }
}
