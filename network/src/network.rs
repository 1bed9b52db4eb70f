//! The network of one host: the state that routing reads, and `host/vnet`'s two questions.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use coracle_telemetry::{RequestSink, Seen};
use coracle_vnet::{BoxFuture, Flow, NsTag, Protocol, Route, Router};
use futures::FutureExt as _;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;

use crate::counts::Count;
use crate::demand::{self, Demand};
use crate::dns::lookup::PodDns;
use crate::egress::Egress;
use crate::ejection::{Cause, Ejections};
use crate::picker::Picker;
use crate::policy::guard::{Arrival, Guard};
use crate::switch::{Grant, Ranges, View, decide};
use crate::table::{ServicePort, Table};
use crate::tunnel::Forbidden;

/// Refusals that wait to be told; one more is dropped, since whoever reads them groups them by pod
/// anyway and a pod that dials in a loop must not cost memory.
const REFUSALS_MAX: usize = 256;

/// How often a wish for a Service is repeated while a connection is held: a report may be lost, and
/// a pod that takes long to start must not be taken for unused. The shortest idle time is two seconds.
const WANT_AGAIN: Duration = Duration::from_millis(500);

/// How long a held connection leaves out the backends that refused it: the table may still have a
/// pod that is gone, and a pod that is there may not listen yet.
const PASS_OVER: Duration = Duration::from_secs(1);

/// A flow that was not let through, to be told to the pod's owner.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The pod that tried, or, where a policy closes the way in, the pod that was tried.
    pub from: NsTag,
    /// Where to.
    pub destination: SocketAddr,
    /// Whether it really was not let through.
    pub kind: RefusalKind,
    /// Why not, and how to mend it.
    pub message: String,
}

/// Whether a flow was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// It was.
    Refused,
    /// It was let through; a NetworkPolicy in dry run would have refused it.
    DryRun,
}

/// Knows Services, names and grants; answers the fabric. Shared by `Arc`.
///
/// Guarantees: an answer is made from one consistent state of the table, never blocks on IO, and
/// never leads to an address of the host except the API server's.
#[derive(Debug)]
pub struct Network {
    ranges: Ranges,
    table: RwLock<Table>,
    picker: Mutex<Picker>,
    ejections: RwLock<Ejections>,
    grants: RwLock<HashMap<NsTag, Grant>>,
    lookups: RwLock<HashMap<NsTag, PodDns>>,
    machine: RwLock<HashSet<IpAddr>>,
    refusals: mpsc::Sender<Refusal>,
    requests: OnceLock<RequestSink>,
    /// The network policies.
    pub guard: Guard,
    /// The use of Services on demand.
    pub demand: Demand,
}

impl Network {
    /// A network that knows no Service yet, and where its refusals can be read.
    #[must_use]
    pub fn new(ranges: Ranges) -> (Arc<Self>, mpsc::Receiver<Refusal>) {
        let (refusals, told) = mpsc::channel(REFUSALS_MAX);
        let network = Self {
            ranges,
            table: RwLock::default(),
            picker: Mutex::default(),
            ejections: RwLock::default(),
            grants: RwLock::default(),
            lookups: RwLock::default(),
            machine: RwLock::default(),
            refusals,
            requests: OnceLock::new(),
            guard: Guard::default(),
            demand: Demand::default(),
        };
        (Arc::new(network), told)
    }

    /// Sets what a pod may reach outside, in place of what it might before. A pod that was never
    /// set reaches nothing outside.
    pub fn grant(&self, pod: &NsTag, egress: Egress) {
        self.grants.write().insert(pod.clone(), Grant::new(egress));
    }

    /// Sets the addresses of this host at which pods with the host's network are; empty for none. They
    /// lead to what such pods listen at, and never to the host's own sockets.
    pub fn set_machine(&self, ips: &[IpAddr]) {
        *self.machine.write() = ips.iter().copied().collect();
    }

    /// Says who notes the requests that are answered at the ways in; whoever says so first.
    pub fn note_requests(&self, sink: RequestSink) {
        if self.requests.set(sink).is_err() {
            tracing::debug!("requests of the ways in are noted already");
        }
    }

    /// Notes a request that was answered at a way in.
    pub(crate) fn seen(&self, seen: Seen) {
        if let Some(sink) = self.requests.get() {
            sink.take(seen);
        }
    }

    /// Forgets a pod that is gone.
    pub fn forget(&self, pod: &NsTag) {
        self.grants.write().remove(pod);
        self.lookups.write().remove(pod);
    }

    /// Reads the table.
    pub fn read<T>(&self, read: impl FnOnce(&Table) -> T) -> T {
        read(&self.table.read())
    }

    /// Changes the table.
    pub fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.write())
    }

    /// Picks a backend for a connection that came in from outside at a node port; `None` if the
    /// port is no Service's or its Service has no ready endpoint besides those in `refused`, which
    /// did not take this connection.
    #[must_use]
    pub fn pick_node_port(
        &self,
        port: u16,
        protocol: Protocol,
        client: IpAddr,
        refused: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let service_port = Arc::clone(self.table.read().node_port(port, protocol)?);
        self.pick_past(&service_port, client, refused)
    }

    /// The backend of a UDP client: the one that it had `before`, for as long as that is among the
    /// Service's.
    #[must_use]
    pub fn keep_node_port(
        &self,
        port: u16,
        client: IpAddr,
        before: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        let service_port = Arc::clone(self.table.read().node_port(port, Protocol::Udp)?);
        let kept = before.filter(|backend| service_port.backends.contains(backend));
        kept.or_else(|| self.pick(&service_port, client))
    }

    /// As [`Network::pick_node_port`], but for a Service on demand waits until it has a backend, for as long as
    /// [`demand::HOLD_MAX`]. Those in `refused`, which did not take the connection, are left out at first.
    pub async fn await_node_port(
        &self,
        port: u16,
        client: IpAddr,
        refused: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let find = || {
            let found = self.table.read().node_port(port, Protocol::Tcp).cloned()?;
            found.on_demand.then_some(found)
        };
        self.await_backend(find, client, refused).await
    }

    /// Waits for a backend of the Service port that `find` gives, and tells that it is wanted.
    /// Those in `refused` are left out for [`PASS_OVER`].
    #[expect(clippy::disallowed_methods, reason = "the edge that waits")]
    pub(crate) async fn await_backend(
        &self,
        find: impl Fn() -> Option<Arc<ServicePort>>,
        client: IpAddr,
        refused: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let _held = self.demand.hold()?;
        let mut changes = self.demand.changes();
        let began = Instant::now();
        let wait = async {
            loop {
                let port = find()?;
                let passed_over = if began.elapsed() < PASS_OVER { refused } else { &[] };
                if let Some(backend) = self.pick_past(&port, client, passed_over) {
                    return Some(backend);
                }
                self.want(&port);
                // The sender lives as long as the network; a lost one ends the wait.
                let again = tokio::time::timeout(WANT_AGAIN, changes.changed()).await;
                if matches!(again, Ok(Err(_closed))) {
                    return None;
                }
            }
        };
        tokio::time::timeout(demand::HOLD_MAX, wait).await.ok().flatten()
    }

    #[expect(clippy::disallowed_methods, reason = "the edge of the pure books of use")]
    fn want(&self, port: &ServicePort) {
        self.demand.want(&port.service, Instant::now());
    }

    /// A backend for a client, whatever is known of their connections.
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the pure picker: session affinity needs the time of the connection"
    )]
    pub(crate) fn pick(&self, port: &ServicePort, client: IpAddr) -> Option<SocketAddr> {
        let now = Instant::now();
        let picked = self.picker.lock().pick(port, client, now, rand::random());
        if port.on_demand && picked.is_some() {
            self.demand.used(&port.service, now);
        }
        picked
    }

    /// As [`Network::pick`] for a connection: without the backends in `refused`, and without those that
    /// took none lately, as long as there are others.
    pub(crate) fn pick_past(
        &self,
        port: &ServicePort,
        client: IpAddr,
        refused: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let ejected = self.ejected(port);
        if refused.is_empty() && ejected.is_empty() {
            return self.pick(port, client);
        }
        let rest = port.without(refused);
        let sound = rest.without(&ejected);
        // Of what is left, one that failed lately is better than none.
        self.pick(if sound.backends.is_empty() { &rest } else { &sound }, client)
    }

    /// Remembers that a backend did not take a connection, so that others are not led to it for a
    /// while. That another host's policies refuse a client says nothing of the backend.
    #[expect(clippy::disallowed_methods, reason = "the edge of the pure ejections")]
    pub(crate) fn not_taken(&self, backend: SocketAddr, error: &io::Error) {
        if Forbidden::is(error) {
            return;
        }
        self.guard.counts.add(Count::NotTaken);
        if self.ejections.write().failed(backend, Instant::now()) {
            tracing::debug!(%backend, %error, "left out for a while");
        }
    }

    /// Remembers how a backend answered a request: `well`, or with a failure of its own, or not at all.
    #[expect(clippy::disallowed_methods, reason = "the edge of the pure ejections")]
    pub(crate) fn answered(&self, backend: SocketAddr, well: bool) {
        if !well {
            self.guard.counts.add(Count::Failed);
        } else if !self.ejections.read().is_failing(backend) {
            return;
        }
        if self.ejections.write().answered(backend, well, Instant::now()) {
            tracing::debug!(%backend, "left out for a while for what it answered");
        }
    }

    /// The backends of a Service port that are left out now.
    #[expect(clippy::disallowed_methods, reason = "the edge of the pure ejections")]
    fn ejected(&self, port: &ServicePort) -> Vec<SocketAddr> {
        let ejections = self.ejections.read();
        if ejections.is_empty() { Vec::new() } else { ejections.among(port, Instant::now()) }
    }

    /// How long a backend is still left out, and why.
    #[expect(clippy::disallowed_methods, reason = "the edge of the pure ejections")]
    pub(crate) fn left_out(&self, backend: SocketAddr) -> Option<(Duration, Cause)> {
        self.ejections.read().left(backend, Instant::now())
    }

    /// What was counted, in Prometheus' text format.
    #[expect(clippy::disallowed_methods, reason = "the edge of the pure ejections")]
    #[must_use]
    pub fn metrics(&self) -> String {
        self.guard.counts.page(self.ejections.read().count(Instant::now()))
    }

    /// Looks at all that decides where flows go.
    pub(crate) fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let (table, grants) = (self.table.read(), self.grants.read());
        let machine = self.machine.read();
        look(&View { table: &table, ranges: &self.ranges, grants: &grants, machine: &machine })
    }

    fn route_past(&self, flow: &Flow, refused: &[SocketAddr]) -> Route {
        // A lookup is never a matter of policies, whichever way it is made.
        if self.table.read().is_dns(flow.destination.ip()) {
            return Route::Pod(flow.destination);
        }
        let client = flow.source.ip();
        let pick = |port: &ServicePort| match flow.protocol {
            Protocol::Tcp => self.pick_past(port, client, refused),
            // Nobody takes or refuses a datagram: what is known of connections says nothing of it.
            Protocol::Udp => self.pick(port, client),
        };
        let route = self.view(|view| decide(view, flow, pick));
        if let Route::Refused(_) = route {
            let to_service = self.ranges.is_service(flow.destination.ip());
            self.guard.counts.add(if to_service { Count::NoBackend } else { Count::NotGranted });
        }
        let route = self.guard.limit(flow, route);
        if let Some(from) = &flow.from {
            match &route {
                Route::Refused(message) => self.tell(from, flow.destination, message),
                Route::Pod(_) | Route::Real(_) => {
                    if let Some(message) = self.guard.rehearse(flow, &route) {
                        self.tell_of(from, flow.destination, (RefusalKind::DryRun, &message));
                    }
                }
            }
        }
        route
    }

    /// Whether a connection that arrives may reach a pod of this host; what may not is told to the
    /// pod's owner.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, arrival: &Arrival<'_>) -> Result<(), String> {
        self.guard.admit(arrival).map_err(|(pod, message)| {
            if let Some(pod) = pod {
                self.tell(&pod, arrival.destination, &message);
            }
            message
        })?;
        if let Some((pod, message)) = self.guard.rehearse_arrival(arrival) {
            self.tell_of(&pod, arrival.destination, (RefusalKind::DryRun, &message));
        }
        Ok(())
    }

    /// Tells a pod's owner of a refusal, if not too many wait to be told.
    pub(crate) fn tell(&self, pod: &NsTag, destination: SocketAddr, message: &str) {
        self.tell_of(pod, destination, (RefusalKind::Refused, message));
    }

    fn tell_of(&self, pod: &NsTag, destination: SocketAddr, (kind, message): (RefusalKind, &str)) {
        let message = message.to_owned();
        let refusal = Refusal { from: pod.clone(), destination, kind, message };
        if let Err(error) = self.refusals.try_send(refusal) {
            tracing::debug!(%pod, %error, "refusal not told");
        }
    }

    /// Whether a pod may look a name up outside, and the only port on which it may then dial what it
    /// finds; `Some(None)` for every port.
    pub(crate) fn allows_name(&self, pod: &NsTag, name: &str) -> Option<Option<u16>> {
        self.grants.read().get(pod).and_then(|grant| grant.allows_name(name))
    }

    /// Remembers what a pod found outside under a name that it may look up.
    pub(crate) fn remember(&self, pod: &NsTag, addresses: &[IpAddr], port: Option<u16>) {
        if let Some(grant) = self.grants.write().get_mut(pod) {
            grant.remember(addresses, port);
        }
    }

    /// Sets how a pod's lookups are answered. One that was never set asks the cluster with the usual
    /// search domains.
    pub fn set_lookups(&self, pod: &NsTag, dns: PodDns) {
        self.lookups.write().insert(pod.clone(), dns);
    }

    pub(crate) fn lookups(&self, pod: &NsTag) -> Option<PodDns> {
        self.lookups.read().get(pod).cloned()
    }

    /// Whether an address is of the cluster's own ranges.
    pub(crate) fn is_ours(&self, ip: IpAddr) -> bool {
        self.ranges.is_pod(ip) || self.ranges.is_service(ip)
    }
}

/// Router and resolver of a fabric, over a shared [`Network`].
#[derive(Debug, Clone)]
pub struct Answers(pub Arc<Network>);

impl Router for Answers {
    fn stays(&self, flow: &Flow, backend: SocketAddr) -> bool {
        let network = &*self.0;
        let kept = |port: &ServicePort| port.backends.contains(&backend).then_some(backend);
        let route = network.view(|view| decide(view, flow, kept));
        match network.guard.limit(flow, route) {
            Route::Pod(address) | Route::Real(address) => address == backend,
            Route::Refused(_) => false,
        }
    }

    fn route(&self, flow: &Flow) -> Route {
        self.0.route_past(flow, &[])
    }

    fn another(&self, flow: &Flow, refused: &[SocketAddr]) -> Route {
        self.0.route_past(flow, refused)
    }

    fn not_taken(&self, backend: SocketAddr, error: &io::Error) {
        self.0.not_taken(backend, error);
    }

    fn answered(&self, backend: SocketAddr, well: bool) {
        self.0.answered(backend, well);
    }

    fn starting(&self, flow: &Flow, refused: &[SocketAddr]) -> Option<BoxFuture<'static, ()>> {
        Answers::on_demand(&self.0, flow)?;
        let (network, flow, refused) = (Arc::clone(&self.0), flow.clone(), refused.to_vec());
        let wait = async move {
            let find = || Answers::on_demand(&network, &flow);
            // Whatever came of it, the flow is asked about again.
            let _backend = network.await_backend(find, flow.source.ip(), &refused).await;
        };
        Some(wait.boxed())
    }
}

impl Answers {
    /// The Service port on demand that a flow goes to.
    fn on_demand(network: &Network, flow: &Flow) -> Option<Arc<ServicePort>> {
        let port = network.table.read().port_at(flow.destination, flow.protocol)?;
        port.on_demand.then_some(port)
    }
}
