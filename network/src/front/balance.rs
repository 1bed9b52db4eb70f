//! Real listeners for Services of type LoadBalancer, whose connections end in pods.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Change, EventKind, Recorder, Subscription};
use coracle_vnet::{Fabric, Protocol};
use k8s_openapi::api::core::v1::{ObjectReference, Service};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::balanced::{Balanced, Place, Places};
use super::doors::Instead;
use crate::network::Network;
use crate::policy::guard::Arrival;
use crate::table::{ServiceKey, ServicePort};

/// How long to wait before a port that something else holds is tried again.
const BIND_RETRY: Duration = Duration::from_secs(5);
/// Wait after an accept that failed, which happens when file descriptors run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Backends that are tried for one connection.
const BACKENDS_TRIED_MAX: usize = 8;

/// Balances for as long as it is there.
#[derive(Debug)]
pub(super) struct Balancing {
    _services: Subscription,
    task: JoinHandle<()>,
}

impl Drop for Balancing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all listeners share.
struct Shared {
    network: Arc<Network>,
    fabric: Arc<Fabric>,
    recorder: Arc<Recorder>,
    instead: Instead,
}

/// Starts to follow Services. What is open closes only when the cache has said what there is.
pub(super) fn start(
    (network, fabric): (&Arc<Network>, &Arc<Fabric>),
    services: Cache<Service>,
    recorder: Arc<Recorder>,
    instead: Instead,
) -> Balancing {
    let changed = Arc::new(Notify::new());
    let following = services.observe({
        let changed = Arc::clone(&changed);
        move |change: &Change<Service>| {
            let spec = |service: &Option<Arc<Service>>| {
                service.as_ref().map(|one| (one.spec.clone(), one.metadata.annotations.clone()))
            };
            if spec(&change.old) != spec(&change.new) {
                changed.notify_one();
            }
        }
    });
    let (network, fabric) = (Arc::clone(network), Arc::clone(fabric));
    let shared = Arc::new(Shared { network, fabric, recorder, instead });
    let task = tokio::spawn(async move {
        let mut listeners = Listeners::default();
        services.wait_synced().await;
        loop {
            listeners.follow(&shared, Places::of(&services.list()));
            changed.notified().await;
        }
    });
    Balancing { _services: following, task }
}

/// The open ports, each with who has it and the task that serves it.
#[derive(Default)]
struct Listeners {
    open: HashMap<Place, (watch::Sender<Arc<Balanced>>, JoinHandle<()>)>,
    told: BTreeSet<(ServiceKey, Place)>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.open.values().for_each(|(_, task)| task.abort());
    }
}

impl Listeners {
    fn follow(&mut self, shared: &Arc<Shared>, places: Places) {
        self.open.retain(|place, (_, task)| {
            let keep = places.taken.contains_key(place);
            if !keep {
                task.abort();
            }
            keep
        });
        for (place, balanced) in places.taken {
            let balanced = Arc::new(balanced);
            if let Some((owner, _)) = self.open.get(&place) {
                owner.send_replace(balanced);
                continue;
            }
            let (owner, of) = watch::channel(balanced);
            let task = tokio::spawn(serve(place, Arc::clone(shared), of));
            self.open.insert(place, (owner, task));
        }
        for (service, place, by) in &places.missed {
            if self.told.insert((service.clone(), *place)) {
                let message = format!(
                    "Port {} of the hosts belongs to Service {by}, which is older: give one of them another port",
                    place.port
                );
                shared.tell(service, EventKind::Warning, "PortTaken", message);
            }
        }
        let missed: BTreeSet<_> =
            places.missed.into_iter().map(|(key, place, _)| (key, place)).collect();
        self.told.retain(|one| missed.contains(one));
    }
}

impl Shared {
    fn tell(&self, service: &ServiceKey, kind: EventKind, reason: &'static str, message: String) {
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(service.namespace.clone()),
            name: Some(service.name.clone()),
            ..ObjectReference::default()
        };
        self.recorder.event_about(object, kind, reason, message);
    }

    fn port(&self, service: &ServiceKey, place: Place) -> Option<Arc<ServicePort>> {
        self.network.read(|table| table.external_port(service, place.port, place.protocol()))
    }

    fn may_enter(&self, client: SocketAddr, backend: SocketAddr, protocol: Protocol) -> bool {
        let source = client.ip();
        let arrival = Arrival { source, from: None, peer: None, destination: backend, protocol };
        self.network.admit(&arrival).is_ok()
    }
}

async fn serve(place: Place, shared: Arc<Shared>, of: watch::Receiver<Arc<Balanced>>) {
    if place.udp {
        return serve_udp(place, shared, of).await;
    }
    let listener = bind(place, &shared, &of, |at| async move { TcpListener::bind(at).await }).await;
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let client = SocketAddr::new(client.ip().to_canonical(), client.port());
                let balanced = Arc::clone(&of.borrow());
                tokio::spawn(connect(stream, client, place, balanced, Arc::clone(&shared)));
            }
            Err(error) => {
                tracing::warn!(port = place.port, %error, "accept for a load balancer");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Joins a client with the first backend that takes it; without one it is reset. For a Service on
/// demand it waits for one, and what the client has sent meanwhile waits in the socket.
async fn connect(
    mut stream: TcpStream,
    client: SocketAddr,
    place: Place,
    balanced: Arc<Balanced>,
    shared: Arc<Shared>,
) {
    let mut refused = Vec::new();
    while balanced.admits(client.ip()) && refused.len() < BACKENDS_TRIED_MAX {
        let Some(port) = shared.port(&balanced.service, place) else { break };
        let mut picked = shared.network.pick_past(&port, client.ip(), &refused);
        if picked.is_none() && port.on_demand {
            let find = || shared.port(&balanced.service, place).filter(|port| port.on_demand);
            picked = shared.network.await_backend(find, client.ip(), &refused).await;
        }
        let Some(backend) = picked else { break };
        refused.push(backend);
        if !shared.may_enter(client, backend, Protocol::Tcp) {
            continue;
        }
        if shared.fabric.is_beyond(backend.ip()) {
            match shared.fabric.deliver_anywhere(backend, client).await {
                Ok(far) => return coracle_vnet::splice(stream, far).await,
                Err(error) => shared.network.not_taken(backend, &error),
            }
            continue;
        }
        match shared.fabric.deliver_real(backend, stream, client) {
            Ok(()) => return,
            Err((back, error)) => {
                shared.network.not_taken(backend, &error);
                stream = back;
            }
        }
    }
    tracing::debug!(%client, service = %balanced.service, "a load balancer's connection was refused");
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "set SO_LINGER on a refused connection");
    }
}

async fn serve_udp(place: Place, shared: Arc<Shared>, of: watch::Receiver<Arc<Balanced>>) {
    let socket = bind(place, &shared, &of, |at| async move { UdpSocket::bind(at).await }).await;
    let fabric = Arc::clone(&shared.fabric);
    let pick = move |client: SocketAddr, before: Option<SocketAddr>| {
        let balanced = Arc::clone(&of.borrow());
        let ip = client.ip().to_canonical();
        if !balanced.admits(ip) {
            return None;
        }
        let port = shared.port(&balanced.service, place)?;
        let kept = before.filter(|backend| port.backends.contains(backend));
        let backend = kept.or_else(|| shared.network.pick(&port, ip))?;
        let client = SocketAddr::new(ip, client.port());
        shared.may_enter(client, backend, Protocol::Udp).then_some(backend)
    };
    coracle_vnet::serve_datagrams(socket, fabric, pick).await;
}

/// Listens on all addresses, and tries again for as long as something else holds the port.
async fn bind<L, F>(
    place: Place,
    shared: &Shared,
    of: &watch::Receiver<Arc<Balanced>>,
    open: impl Fn(SocketAddr) -> F,
) -> L
where
    F: Future<Output = io::Result<L>>,
{
    let candidates = shared.instead.candidates(place.port);
    let mut told = false;
    loop {
        for port in &candidates {
            let both = open((Ipv6Addr::UNSPECIFIED, *port).into()).await;
            let listening = match both {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    open((Ipv4Addr::UNSPECIFIED, *port).into()).await
                }
                both => both,
            };
            let service = of.borrow().service.clone();
            match listening {
                Ok(listener) => {
                    if *port != place.port {
                        let message = format!("Port {} is at port {port} of a host", place.port);
                        shared.tell(&service, EventKind::Normal, "OtherPort", message);
                    }
                    return listener;
                }
                Err(error) => tracing::debug!(%service, port, %error, "a load balancer's port"),
            }
        }
        if !told {
            told = true;
            let message = format!(
                "A host cannot listen on port {}: something else holds it. It is tried again every 5 s; give the Service another port, or free that one",
                place.port
            );
            let service = of.borrow().service.clone();
            shared.tell(&service, EventKind::Warning, "PortTaken", message);
        }
        tokio::time::sleep(BIND_RETRY).await;
    }
}
