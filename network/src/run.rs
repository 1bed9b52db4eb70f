//! Keeps a [`Network`] in step with the API: Services and EndpointSlices in, routes and open node
//! ports out. Each change is in the table before the next event is read.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Caches, Change, ObjectKey, Subscription};
use coracle_vnet::Fabric;
use k8s_openapi::api::core::v1::{Node, Service};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cidr::Cidr;
use crate::endpoints::Slice;
use crate::health::HealthPorts;
use crate::network::Network;
use crate::proxy::Listeners;
use crate::report;
use crate::saved::{Current, Known, Saved};
use crate::table::ServiceKey;
use crate::topology::Place;

/// The label of a Node that says its zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Changes within this time are saved together: a rollout changes slices many times a second. What
/// changed last is lost if host and server are both killed within it.
const SAVE_AFTER: Duration = Duration::from_millis(50);
/// The time that a save took is waited so many times before the next one: all Services are saved each time,
/// and a change of one endpoint is not to cost more because there are many.
const SAVE_SHARE: u32 = 20;
/// The longest such wait.
const SAVE_AFTER_MAX: Duration = Duration::from_secs(5);

/// Follows the API until it is dropped; then node ports are closed and the table stands still.
#[derive(Debug)]
pub struct Following {
    _services: Subscription,
    _slices: Subscription,
    _node: Subscription,
    mismatch: watch::Receiver<Option<Mismatch>>,
    tasks: [JoinHandle<()>; 3],
}

/// The server gives this host's pods addresses that this host does not take for pods'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the range {range} of node '{node}' is outside of this host's --cluster-cidr, so that no pod would be reached: start \
     the host with the --cluster-cidr of the server"
)]
pub struct Mismatch {
    node: String,
    range: String,
}

impl Following {
    /// Waits until the server gives this host a range that it cannot serve; for ever if it never does.
    pub async fn mismatch(&self) -> Mismatch {
        let mut mismatch = self.mismatch.clone();
        match mismatch.wait_for(Option::is_some).await.map(|found| found.clone()) {
            Ok(Some(found)) => found,
            // Nobody looks any more.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts to follow Services and EndpointSlices for the host of `node`, and that Node's zone. Needs a
/// tokio runtime.
///
/// What was known is kept in `file`, and is in the table and on the node ports at once when this
/// returns, whether or not a server can be reached; what the API no longer has is taken out when
/// the first lists have come.
#[must_use = "nothing is followed any more when it is dropped"]
pub fn follow(
    network: &Arc<Network>,
    fabric: &Arc<Fabric>,
    caches: &Caches,
    (node, file): (&str, PathBuf),
) -> Following {
    let saved = Saved::read(&file);
    let known = network.change(|table| {
        table.set_place(Place { node: node.to_owned(), zone: saved.zone.clone() });
        saved.fill(table)
    });
    drop(saved);
    let (ports, save) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (services, slices) = (caches.get::<Service>(), caches.get::<Slice>());
    let following_services = {
        let (network, fabric) = (Arc::clone(network), Arc::clone(fabric));
        let (ports, save) = (Arc::clone(&ports), Arc::clone(&save));
        services.observe(move |change| {
            apply_service(&network, change);
            fabric.forget_flows();
            ports.notify_one();
            save.notify_one();
        })
    };
    let following_slices = {
        let (network, fabric) = (Arc::clone(network), Arc::clone(fabric));
        let (ports, save) = (Arc::clone(&ports), Arc::clone(&save));
        slices.observe(move |change| {
            apply_slice(&network, change);
            fabric.forget_flows();
            network.demand.backends_changed();
            // With `externalTrafficPolicy: Local` a node port is open only beside an endpoint.
            ports.notify_one();
            save.notify_one();
        })
    };
    let (found, mismatch) = watch::channel(None);
    let following_node = observe_node(network, fabric, caches, (node, &save, found));
    let open =
        tokio::spawn(keep_ports(Arc::clone(network), Arc::clone(fabric), Arc::clone(&ports)));
    let keep = Keep { network: Arc::clone(network), services, slices, file, ports };
    let report = report::run(Arc::clone(network), Arc::clone(fabric), caches.client().clone());
    let tasks = [open, tokio::spawn(keep.run(known, save)), tokio::spawn(report)];
    Following {
        _services: following_services,
        _slices: following_slices,
        _node: following_node,
        mismatch,
        tasks,
    }
}

/// Follows the Nodes: where all of them are, and of the host's own its zone and the range of its pods.
fn observe_node(
    network: &Arc<Network>,
    fabric: &Arc<Fabric>,
    caches: &Caches,
    (node, save, found): (&str, &Arc<Notify>, watch::Sender<Option<Mismatch>>),
) -> Subscription {
    let (network, fabric, save) = (Arc::clone(network), Arc::clone(fabric), Arc::clone(save));
    let node = node.to_owned();
    caches.get::<Node>().observe(move |change| {
        let addresses = change.new.as_deref().map(addresses).unwrap_or_default();
        if network.change(|table| table.set_node(&change.key.name, addresses)) {
            fabric.forget_flows();
            save.notify_one();
        }
        let Some(own) = change.new.as_ref().filter(|_| change.key.name == node) else { return };
        if let Some(range) = strange_range(&network, own) {
            found.send_replace(Some(Mismatch { node: node.clone(), range: range.clone() }));
        }
        let zone = own.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE_LABEL));
        let place = Place { node: node.clone(), zone: zone.cloned() };
        if network.read(|table| *table.place() != place) {
            network.change(|table| table.set_place(place));
            fabric.forget_flows();
            save.notify_one();
        }
    })
}

/// Where a node is, inside and outside.
fn addresses(node: &Node) -> Vec<IpAddr> {
    let all = node.status.as_ref().and_then(|status| status.addresses.as_ref());
    let all = all.into_iter().flatten();
    let ips = all.filter(|address| matches!(&*address.type_, "InternalIP" | "ExternalIP"));
    ips.filter_map(|address| address.address.parse().ok()).collect()
}

async fn keep_ports(network: Arc<Network>, fabric: Arc<Fabric>, changed: Arc<Notify>) {
    let (mut listeners, mut health) = (Listeners::default(), HealthPorts::default());
    loop {
        listeners.follow(&network, &fabric);
        health.follow(&network);
        changed.notified().await;
    }
}

/// A range of the node's pods that this host does not take for one of the cluster's.
fn strange_range<'a>(network: &Network, node: &'a Node) -> Option<&'a String> {
    let spec = node.spec.as_ref()?;
    let ranges = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    let mut read = ranges.filter_map(|text| Some((text, Cidr::parse(text)?)));
    read.find(|(_, range)| !network.is_ours(range.start())).map(|(text, _)| text)
}

/// Keeps the file in step, once what it held has been compared with the API.
struct Keep {
    network: Arc<Network>,
    services: Cache<Service>,
    slices: Cache<Slice>,
    file: PathBuf,
    ports: Arc<Notify>,
}

impl Keep {
    async fn run(self, known: Known, changed: Arc<Notify>) {
        self.services.wait_synced().await;
        self.slices.wait_synced().await;
        self.network.change(|table| {
            let in_cache =
                |key: &ServiceKey| self.services.get(Some(&key.namespace), &key.name).is_some();
            let slice =
                |key: &ServiceKey| self.slices.get(Some(&key.namespace), &key.name).is_some();
            known.drop_stale(table, in_cache, slice);
        });
        drop(known);
        self.ports.notify_one();
        let mut pause = SAVE_AFTER;
        loop {
            changed.notified().await;
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            self.save().await;
            pause = (began.elapsed() * SAVE_SHARE).clamp(SAVE_AFTER, SAVE_AFTER_MAX);
        }
    }

    async fn save(&self) {
        let current = Current {
            zone: self.network.read(|table| table.place().zone.clone()),
            nodes: self.network.read(|table| table.nodes().clone()),
            services: self.services.list(),
            slices: self.slices.list(),
        };
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || current.write(&file)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, file = %self.file.display(), "save Services"),
            Err(error) => tracing::error!(%error, "the task that saves Services panicked"),
        }
    }
}

fn apply_service(network: &Network, change: &Change<Service>) {
    let key = service_key(&change.key);
    network.change(|table| match &change.new {
        Some(service) => table.set_service(&key, service),
        None => table.remove_service(&key),
    });
}

fn apply_slice(network: &Network, change: &Change<Slice>) {
    let key = service_key(&change.key);
    network.change(|table| match &change.new {
        Some(slice) => table.set_slice(&key.namespace, &key.name, slice),
        None => table.remove_slice(&key.namespace, &key.name),
    });
}

fn service_key(key: &ObjectKey) -> ServiceKey {
    ServiceKey { namespace: key.namespace.clone().unwrap_or_default(), name: key.name.clone() }
}
