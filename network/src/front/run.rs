//! Keeps the way in of a host in step with the API: objects in, routes, certificates and doors out.

use std::collections::BTreeSet;
use std::sync::Arc;

use coracle_client::{Cache, Caches, Change, Recorder, Subscription};
use coracle_vnet::Fabric;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::balance::{self, Balancing};
use super::certificates::Certificates;
use super::doors::{Doors, Instead, Teller};
use super::ingress;
use super::routes::{Listener, Routes};
use super::serve::Door;
use super::state::Front;
use crate::gateway::compile;
use crate::gateway::follow::Following;
use crate::gateway::world::World;
use crate::network::Network;
use crate::switch::Ranges;
use crate::table::ServiceKey;

/// How a host's way in is.
#[derive(Debug, Clone)]
pub struct FrontConfig {
    /// The name of the host's node.
    pub node: String,
    /// The ranges of the cluster.
    pub ranges: Ranges,
    /// Where it listens in place of 80 and 443.
    pub instead: Instead,
}

/// The way in at work. Dropping it closes its ports and cuts what comes in there.
#[derive(Debug)]
pub struct Running {
    _observers: Vec<Subscription>,
    _balancing: Balancing,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Starts the way in: opens ports as soon as there is an object that asks for one. Needs a tokio
/// runtime.
#[must_use = "the ports are closed when it is dropped"]
pub fn start(
    config: FrontConfig,
    (network, fabric): (&Arc<Network>, &Arc<Fabric>),
    caches: &Caches,
) -> Running {
    let client = caches.client().clone();
    let recorder = Arc::new(Recorder::new(&client, "coracle-front", &config.node));
    let certificates = Certificates::new(client.clone(), Arc::clone(&recorder));
    let front = Arc::new(Front::new(network, fabric, config.ranges, certificates));
    let balancing =
        balance::start((network, fabric), caches.get(), Arc::clone(&recorder), config.instead);
    let teller = Teller { node: config.node, client, recorder };
    let changed = Arc::new(Notify::new());
    let objects = Objects {
        ingresses: caches.get(),
        classes: caches.get(),
        services: caches.get(),
        gateways: Following::new(caches),
    };
    let observers = objects.observe(&changed);
    let pool = Arc::clone(&front.pool);
    let keep = async move {
        let mut doors = Doors::new(&front, config.instead, teller);
        objects.wait_synced().await;
        // Ingresses do not wait for the Gateway API, which need not be served.
        let mut unknown = true;
        loop {
            follow(&front, &mut doors, objects.listeners());
            tokio::select! {
                () = changed.notified() => {}
                () = objects.gateways.wait_synced(), if unknown => unknown = false,
            }
        }
    };
    let tasks = [tokio::spawn(keep), tokio::spawn(async move { pool.sweep().await })];
    Running { _observers: observers, _balancing: balancing, tasks }
}

fn follow(front: &Front, doors: &mut Doors, listeners: Vec<Listener>) {
    let routes = Arc::new(Routes::new(listeners));
    front.certificates.follow(&routes.secrets());
    let wanted: BTreeSet<Door> =
        routes.ports().map(|(port, secure)| Door { port, secure }).collect();
    front.set_routes(routes);
    doors.follow(&wanted);
}

/// The objects that routes are made of.
struct Objects {
    ingresses: Cache<Ingress>,
    classes: Cache<IngressClass>,
    services: Cache<Service>,
    gateways: Following,
}

impl Objects {
    fn observe(&self, changed: &Arc<Notify>) -> Vec<Subscription> {
        let note = |changed: &Arc<Notify>| {
            let changed = Arc::clone(changed);
            move || changed.notify_one()
        };
        let (ingress, class, service) = (note(changed), note(changed), note(changed));
        let mut all = self.gateways.observe(changed);
        all.extend([
            self.ingresses.observe(move |change| {
                if !same(change, |ingress| (&ingress.spec, &ingress.metadata.annotations)) {
                    ingress();
                }
            }),
            self.classes.observe(move |_| class()),
            self.services.observe(move |change| {
                // Of a Service, routes know its ports alone.
                if !same(change, |one| one.spec.as_ref().and_then(|spec| spec.ports.as_ref())) {
                    service();
                }
            }),
        ]);
        all
    }

    async fn wait_synced(&self) {
        self.ingresses.wait_synced().await;
        self.classes.wait_synced().await;
        self.services.wait_synced().await;
    }

    fn listeners(&self) -> Vec<Listener> {
        let services = |key: &ServiceKey| self.services.get(Some(&key.namespace), &key.name);
        let classes = self.classes.list();
        let mut ingresses = self.ingresses.list();
        ingresses.retain(|one| ingress::is_ours(one, &classes));
        let mut all = ingress::listeners(&ingresses, &services);
        if self.gateways.is_synced() {
            let labels = |namespace: &str| self.gateways.labels(namespace);
            let objects = self.gateways.objects();
            let world = World { objects: &objects, services: &services, labels: &labels };
            all.extend(compile::listeners(&world));
        }
        all
    }
}

/// Whether a change leaves a part of its object as it was.
fn same<'a, K, T: PartialEq>(change: &'a Change<K>, part: impl Fn(&'a K) -> T) -> bool {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => part(old) == part(new),
        (None, _) | (_, None) => false,
    }
}
