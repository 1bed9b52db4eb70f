//! The caches of the Gateway API's objects, for hosts and for whoever writes statuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_client::cache::Object;
use coracle_client::{Cache, Caches, Change, Subscription};
use k8s_openapi::api::core::v1::Namespace;
use tokio::sync::Notify;

use super::objects::{Gateway, GatewayClass, GrpcRoute, HttpRoute, ReferenceGrant, TlsRoute};
use super::world::Objects;

/// Caches of all kinds.
#[derive(Clone)]
pub struct Following {
    pub(super) classes: Cache<GatewayClass>,
    pub(super) gateways: Cache<Gateway>,
    pub(super) http: Cache<HttpRoute>,
    pub(super) grpc: Cache<GrpcRoute>,
    pub(super) tls: Cache<TlsRoute>,
    pub(super) grants: Cache<ReferenceGrant>,
    namespaces: Cache<Namespace>,
}

impl Following {
    /// Starts to follow all kinds. Needs a tokio runtime.
    #[must_use]
    pub fn new(caches: &Caches) -> Self {
        Self {
            classes: caches.get(),
            gateways: caches.get(),
            http: caches.get(),
            grpc: caches.get(),
            tls: caches.get(),
            grants: caches.get(),
            namespaces: caches.get(),
        }
    }

    /// Notes every change of what an object asks for; not of what is said of it.
    #[must_use = "changes are noted until they are dropped"]
    pub fn observe(&self, changed: &Arc<Notify>) -> Vec<Subscription> {
        vec![
            on_change(&self.classes, changed),
            on_change(&self.gateways, changed),
            on_change(&self.http, changed),
            on_change(&self.grpc, changed),
            on_change(&self.tls, changed),
            on_change(&self.grants, changed),
            self.namespaces.observe({
                let changed = Arc::clone(changed);
                move |change: &Change<Namespace>| {
                    let labels = |one: &Option<Arc<Namespace>>| {
                        one.as_ref().map(|one| one.metadata.labels.clone())
                    };
                    if labels(&change.old) != labels(&change.new) {
                        changed.notify_one();
                    }
                }
            }),
        ]
    }

    /// Waits until all kinds are known. For ever, while the kinds are not served.
    pub async fn wait_synced(&self) {
        self.classes.wait_synced().await;
        self.gateways.wait_synced().await;
        self.http.wait_synced().await;
        self.grpc.wait_synced().await;
        self.tls.wait_synced().await;
        self.grants.wait_synced().await;
        self.namespaces.wait_synced().await;
    }

    /// Whether all kinds are known.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        let routes = self.http.synced() && self.grpc.synced() && self.tls.synced();
        let rest = self.classes.synced() && self.gateways.synced() && self.grants.synced();
        routes && rest && self.namespaces.synced()
    }

    /// The objects as they are now.
    #[must_use]
    pub fn objects(&self) -> Objects {
        Objects {
            classes: self.classes.list(),
            gateways: self.gateways.list(),
            http: self.http.list(),
            grpc: self.grpc.list(),
            tls: self.tls.list(),
            grants: self.grants.list(),
        }
    }

    /// The labels of a namespace.
    #[must_use]
    pub fn labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let namespace = self.namespaces.get(None, namespace);
        namespace.and_then(|one| one.metadata.labels.clone()).unwrap_or_default()
    }
}

fn on_change<K: Object>(cache: &Cache<K>, changed: &Arc<Notify>) -> Subscription {
    let changed = Arc::clone(changed);
    cache.observe(move |change: &Change<K>| {
        let asks = |object: &Option<Arc<K>>| {
            object.as_ref().map(|object| {
                let meta = object.meta();
                (meta.uid.clone(), meta.generation, meta.annotations.clone())
            })
        };
        if asks(&change.old) != asks(&change.new) || change.new.is_none() {
            changed.notify_one();
        }
    })
}
