//! Keeps a [`Network`] in step with the API: Services and EndpointSlices in, routes and open node
//! ports out. Each change is in the table before the next event is read.

use std::sync::Arc;

use coracle_client::{Caches, Change, ObjectKey, Subscription};
use coracle_vnet::Fabric;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::network::Network;
use crate::proxy::Listeners;
use crate::table::ServiceKey;

/// Follows the API until it is dropped; then node ports are closed and the table stands still.
#[derive(Debug)]
pub struct Following {
    _services: Subscription,
    _slices: Subscription,
    ports: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.ports.abort();
    }
}

/// Starts to follow Services and EndpointSlices. Needs a tokio runtime; what `network` knew before
/// (from a checkpoint, say) stays until the API says otherwise.
#[must_use = "nothing is followed any more when it is dropped"]
pub fn follow(network: &Arc<Network>, fabric: &Arc<Fabric>, caches: &Caches) -> Following {
    let changed = Arc::new(Notify::new());
    let services = {
        let (network, fabric, changed) =
            (Arc::clone(network), Arc::clone(fabric), Arc::clone(&changed));
        caches.get::<Service>().observe(move |change| {
            apply_service(&network, change);
            fabric.forget_flows();
            changed.notify_one();
        })
    };
    let slices = {
        let (network, fabric) = (Arc::clone(network), Arc::clone(fabric));
        caches.get::<EndpointSlice>().observe(move |change| {
            apply_slice(&network, change);
            fabric.forget_flows();
        })
    };
    let (network, fabric) = (Arc::clone(network), Arc::clone(fabric));
    let ports = tokio::spawn(async move {
        let mut listeners = Listeners::default();
        loop {
            listeners.follow(&network, &fabric);
            changed.notified().await;
        }
    });
    Following { _services: services, _slices: slices, ports }
}

fn apply_service(network: &Network, change: &Change<Service>) {
    let key = service_key(&change.key);
    network.change(|table| match &change.new {
        Some(service) => table.set_service(&key, service),
        None => table.remove_service(&key),
    });
}

fn apply_slice(network: &Network, change: &Change<EndpointSlice>) {
    let key = service_key(&change.key);
    network.change(|table| match &change.new {
        Some(slice) => table.set_slice(&key.namespace, &key.name, slice),
        None => table.remove_slice(&key.namespace, &key.name),
    });
}

fn service_key(key: &ObjectKey) -> ServiceKey {
    ServiceKey { namespace: key.namespace.clone().unwrap_or_default(), name: key.name.clone() }
}
