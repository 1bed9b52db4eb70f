//! A network namespace: loopback, its own addresses, its ports.

use crate::budget::Budget;
use crate::door::Door;
use crate::fabric::Fabric;
use crate::links::{Links, Membership};
use crate::listener::{Accept, PortGuard, Slot};
use crate::ports::PortTable;
use crate::resolve::ResolveError;
use crate::route::{Flow, Protocol, Route};
use crate::stream::VStream;
use crate::tag::NsTag;
use crate::traffic::Traffic;
use crate::udp::{Datagram, Datagrams, UdpSocket};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};

/// Most connections that a namespace takes part in unless told otherwise: each can hold half a
/// mebibyte of host memory. Connecting fails with `QuotaExceeded`, being connected to is refused.
pub const CONNECTIONS_MAX: usize = 4096;

/// How many times as many connections may come in as go out: no single namespace can hold all that
/// another takes.
const COMING_SHARE: usize = 2;

/// Most bytes that the connections of a namespace hold together unless told otherwise, in bytes.
/// Beyond it each one still has a little; writers wait.
pub const BUFFER_BYTES_MAX: usize = 64 << 20;

/// Most UDP sockets of a namespace: each can hold a quarter of a mebibyte.
const UDP_SOCKETS_MAX: usize = 256;

/// What a namespace is made of.
#[derive(Clone, Debug)]
pub struct NetNsSpec {
    /// Whose it is.
    pub tag: NsTag,
    /// Its addresses, the first of each family being the one that connections come from.
    pub ips: Vec<IpAddr>,
    /// Its own name, which resolves to its addresses.
    pub hostname: String,
    /// Its addresses are the machine's own: what listens here is reached at real sockets of the
    /// machine, too, which other programs may have taken.
    pub is_of_machine: bool,
    /// Further entries of its hosts file.
    pub hosts: Vec<(IpAddr, String)>,
    /// Most connections at a time, and twice as many when others come in; see [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// Most bytes in all its connections; see [`BUFFER_BYTES_MAX`].
    pub buffer_bytes_max: usize,
}

impl NetNsSpec {
    /// A namespace with these addresses and nothing else said.
    #[must_use]
    pub fn new(tag: NsTag, ips: Vec<IpAddr>) -> NetNsSpec {
        NetNsSpec {
            tag,
            ips,
            hostname: String::new(),
            is_of_machine: false,
            hosts: Vec::new(),
            connections_max: CONNECTIONS_MAX,
            buffer_bytes_max: BUFFER_BYTES_MAX,
        }
    }
}

#[derive(Default)]
struct State {
    tcp: PortTable<Slot>,
    udp: PortTable<Arc<Datagrams>>,
    udp_sockets: usize,
    links: Links,
    /// The machine's sockets that stand for what listens here; empty in a pod's own namespace.
    doors: HashMap<(Protocol, SocketAddr), Door>,
    ended: bool,
}

/// One pod's network. All its containers share it: the same ports, the same 127.0.0.1.
///
/// It lives in its [`Fabric`] until it is removed there; then its ports are free, its connections
/// cut, and every call fails.
pub struct NetNs {
    spec: NetNsSpec,
    fabric: Weak<Fabric>,
    budget: Arc<Budget>,
    traffic: Arc<Traffic>,
    state: Mutex<State>,
}

impl NetNs {
    pub(crate) fn new(spec: NetNsSpec, fabric: Weak<Fabric>) -> Arc<NetNs> {
        let budget = Arc::new(Budget::new(spec.buffer_bytes_max));
        Arc::new(NetNs { spec, fabric, budget, traffic: Arc::default(), state: Mutex::default() })
    }

    /// What it was made of.
    #[must_use]
    pub fn spec(&self) -> &NetNsSpec {
        &self.spec
    }

    /// Whose it is.
    #[must_use]
    pub fn tag(&self) -> &NsTag {
        &self.spec.tag
    }

    /// Its addresses.
    #[must_use]
    pub fn ips(&self) -> &[IpAddr] {
        &self.spec.ips
    }

    /// Takes a TCP port; port 0 takes any free one.
    ///
    /// # Errors
    /// `AddrNotAvailable` for an address that is not its own, `AddrInUse`, `NotConnected` when the
    /// namespace has ended.
    pub fn bind_tcp(self: &Arc<Self>, address: SocketAddr) -> io::Result<PortGuard> {
        self.check_own(address)?;
        let mut state = self.state.lock();
        let State { tcp, links, .. } = live(&mut state)?;
        let local = tcp.bind(address, Slot::Bound, |port| links.is_port_used(port))?;
        Ok(PortGuard::new(self.clone(), local))
    }

    /// Takes a UDP port; port 0 takes any free one.
    ///
    /// # Errors
    /// As [`NetNs::bind_tcp`], and `QuotaExceeded` when there are too many sockets.
    pub fn bind_udp(self: &Arc<Self>, address: SocketAddr) -> io::Result<UdpSocket> {
        self.check_own(address)?;
        let queue = Arc::new(Datagrams::default());
        let local = {
            let mut state = self.state.lock();
            let state = live(&mut state)?;
            if state.udp_sockets >= UDP_SOCKETS_MAX {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            let local = state.udp.bind(address, queue.clone(), |_| false)?;
            if address.port() != 0 && self.has_door(local) {
                let door =
                    Door::udp(self, local).inspect_err(|_| drop(state.udp.release(local)))?;
                state.doors.insert((Protocol::Udp, local), door);
            }
            state.udp_sockets += 1;
            local
        };
        self.tell_uplink();
        Ok(UdpSocket::new(self.clone(), local, queue))
    }

    /// Connects `source`, which need not be an address of the fabric, to a listener of this
    /// namespace: `destination` is one of its addresses or loopback. The client's end comes back.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there, its queue is full or it drains.
    pub fn deliver(
        self: &Arc<Self>,
        destination: SocketAddr,
        source: SocketAddr,
    ) -> io::Result<VStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let (queue, callback, scope, membership) = {
            let mut state = self.state.lock();
            let state = live(&mut state).map_err(|_| refused())?;
            let (queue, callback, scope) = match state.tcp.find(destination) {
                None | Some(Slot::Bound) => return Err(refused()),
                Some(Slot::Queue(queue, scope)) => (Some(queue.clone()), None, scope.clone()),
                Some(Slot::Callback(accept, scope)) => (None, Some(accept.clone()), scope.clone()),
            };
            let draining = scope.as_ref().is_some_and(|scope| scope.is_draining());
            let coming_max = self.spec.connections_max.saturating_mul(COMING_SHARE);
            if draining || state.links.len() >= coming_max {
                return Err(refused());
            }
            (queue, callback, scope, Membership::new(self, state.links.add(None)))
        };
        let (near, far) = VStream::pair(source, destination);
        let mut far = far.joined(membership);
        if let Some(scope) = scope {
            far.enter(scope);
        }
        if let Some(queue) = queue {
            queue.offer(far)?;
        } else if let Some(callback) = callback {
            callback.accept(far);
        }
        Ok(near)
    }

    /// The callback that listens at `destination`, if it is one: for callers that can do without a
    /// byte stream. A draining one is not given.
    #[must_use]
    pub fn callback_at(&self, destination: SocketAddr) -> Option<Arc<dyn Accept>> {
        match self.state.lock().tcp.find(destination)? {
            Slot::Bound | Slot::Queue(..) => None,
            Slot::Callback(accept, scope) => {
                let draining = scope.as_ref().is_some_and(|scope| scope.is_draining());
                (!draining).then(|| accept.clone())
            }
        }
    }

    /// Where the router leads a connection to `destination` from here; `None` where it is not asked.
    pub(crate) fn route_to(&self, destination: SocketAddr) -> Option<Route> {
        let fabric = self.fabric.upgrade().filter(|fabric| fabric.uplink().is_none())?;
        let source = self.spec.ips.iter().find(|ip| ip.is_ipv4() == destination.is_ipv4());
        let flow = Flow {
            from: Some(self.spec.tag.clone()),
            source: SocketAddr::new(*source?, 0),
            destination,
            protocol: Protocol::Tcp,
        };
        Some(fabric.route(&flow))
    }

    /// Whether somebody listens at `destination` (TCP).
    #[must_use]
    pub fn is_listening(&self, destination: SocketAddr) -> bool {
        let state = self.state.lock();
        !matches!(state.tcp.find(destination), None | Some(Slot::Bound))
    }

    /// Whether a UDP socket takes datagrams to `destination`.
    #[must_use]
    pub fn is_receiving(&self, destination: SocketAddr) -> bool {
        self.state.lock().udp.find(destination).is_some()
    }

    /// The addresses at which somebody takes connections (TCP), in order; not those that drain.
    #[must_use]
    pub fn listening(&self) -> Vec<SocketAddr> {
        let state = self.state.lock();
        let takes = |slot: &Slot| match slot {
            Slot::Bound => false,
            Slot::Queue(_, scope) | Slot::Callback(_, scope) => {
                !scope.as_ref().is_some_and(|scope| scope.is_draining())
            }
        };
        let found = state.tcp.iter().filter(|(_, slot)| takes(slot));
        let mut found: Vec<SocketAddr> = found.map(|(address, _)| address).collect();
        found.sort_unstable();
        found
    }

    /// The addresses that UDP sockets are bound to, in order.
    #[must_use]
    pub fn receiving(&self) -> Vec<SocketAddr> {
        let state = self.state.lock();
        let mut found: Vec<SocketAddr> = state.udp.iter().map(|(address, _)| address).collect();
        found.sort_unstable();
        found
    }

    /// How many connections it takes part in; one with itself counts twice.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.lock().links.len()
    }

    /// Looks a name up: text addresses, `localhost`, its own name and hosts entries here, the rest
    /// at the fabric's resolver. IPv4 comes first.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(&self, name: &str) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        if let Some(ips) = self.resolve_here(name) {
            return ready(Ok(ips)).boxed();
        }
        if name.is_empty() || name.len() > 253 || !name.is_ascii() {
            return ready(Err(ResolveError::Invalid(name.to_owned()))).boxed();
        }
        match self.fabric.upgrade() {
            Some(fabric) => fabric.resolver().resolve(&self.spec.tag, name),
            None => ready(Err(ResolveError::NotFound(name.to_owned()))).boxed(),
        }
    }

    fn resolve_here(&self, name: &str) -> Option<Vec<IpAddr>> {
        if let Ok(ip) = name.parse() {
            return Some(vec![ip]);
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.eq_ignore_ascii_case("localhost") {
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if !name.is_empty() && name.eq_ignore_ascii_case(&self.spec.hostname) {
            return Some(self.spec.ips.clone());
        }
        let entries = self.spec.hosts.iter().filter(|(_, host)| name.eq_ignore_ascii_case(host));
        let ips: Vec<IpAddr> = entries.map(|(ip, _)| *ip).collect();
        (!ips.is_empty()).then_some(ips)
    }

    /// How many bytes wait in its connections.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.budget.used()
    }

    /// What it has sent and received. Whoever serves its connections by other means counts there too.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Whether an address leads to this namespace without asking anybody.
    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.spec.ips.contains(&ip)
    }

    /// The address that packets to `destination` come from when the socket is bound to `bound`.
    pub(crate) fn source_ip(&self, destination: IpAddr, bound: IpAddr) -> io::Result<IpAddr> {
        let source = if !bound.is_unspecified() {
            Some(bound)
        } else if self.is_own(destination) {
            Some(destination)
        } else {
            self.spec.ips.iter().find(|ip| ip.is_ipv4() == destination.is_ipv4()).copied()
        };
        match source {
            Some(ip) if !ip.is_loopback() || self.is_own(destination) => Ok(ip),
            Some(_) | None => Err(io::ErrorKind::NetworkUnreachable.into()),
        }
    }

    pub(crate) fn fabric(&self) -> io::Result<Arc<Fabric>> {
        self.fabric.upgrade().ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }

    /// Puts a datagram into the queue of whoever is bound to `destination`; drops it otherwise.
    pub(crate) fn deliver_datagram(&self, destination: SocketAddr, datagram: Datagram) {
        self.traffic.receive(datagram.data.len());
        let queue = self.state.lock().udp.find(destination).cloned();
        if let Some(queue) = queue {
            queue.push(datagram);
        }
    }

    pub(crate) fn set_slot(self: &Arc<Self>, local: SocketAddr, slot: Slot) -> io::Result<()> {
        let before = {
            let mut state = self.state.lock();
            let State { tcp, doors, .. } = live(&mut state)?;
            let found = tcp.get_mut(local).ok_or(io::ErrorKind::NotConnected)?;
            if self.has_door(local) && !doors.contains_key(&(Protocol::Tcp, local)) {
                doors.insert((Protocol::Tcp, local), Door::tcp(self, local)?);
            }
            std::mem::replace(found, slot)
        };
        // What was there is dropped after the lock: a callback may own things of this namespace.
        drop(before);
        self.tell_uplink();
        Ok(())
    }

    pub(crate) fn release_tcp(&self, local: SocketAddr) {
        let slot = {
            let mut state = self.state.lock();
            state.doors.remove(&(Protocol::Tcp, local));
            state.tcp.release(local)
        };
        close(slot);
        self.tell_uplink();
    }

    pub(crate) fn release_udp(&self, local: SocketAddr) {
        {
            let mut state = self.state.lock();
            if state.udp.release(local).is_some() {
                state.udp_sockets -= 1;
                state.doors.remove(&(Protocol::Udp, local));
            }
        }
        self.tell_uplink();
    }

    fn tell_uplink(&self) {
        if let Some(fabric) = self.fabric.upgrade()
            && let Some(uplink) = fabric.uplink()
        {
            uplink.ports_changed();
        }
    }

    pub(crate) fn with_links<T>(&self, use_links: impl FnOnce(&mut Links) -> T) -> T {
        use_links(&mut self.state.lock().links)
    }

    /// Ends it: frees all ports, cuts all connections, wakes all who wait.
    pub(crate) fn end(&self) {
        let (slots, queues, pipes) = {
            let mut state = self.state.lock();
            state.ended = true;
            state.doors.clear();
            (state.tcp.drain(), state.udp.drain(), state.links.take())
        };
        pipes.iter().filter_map(Weak::upgrade).for_each(|pipe| pipe.reset_now());
        slots.into_iter().for_each(|slot| close(Some(slot)));
        queues.iter().for_each(|queue| queue.close());
    }

    /// Whether a real socket stands for an address: not for loopback, which is the namespace's own,
    /// nor for a family of which the machine has told no address.
    fn has_door(&self, local: SocketAddr) -> bool {
        let of_family = |ip: &IpAddr| ip.is_ipv4() == local.is_ipv4();
        self.spec.is_of_machine && !local.ip().is_loopback() && self.spec.ips.iter().any(of_family)
    }

    fn check_own(&self, address: SocketAddr) -> io::Result<()> {
        if address.ip().is_unspecified() || self.is_own(address.ip()) {
            return Ok(());
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    /// Chooses where a connection comes from, and counts it.
    pub(crate) fn depart(
        self: &Arc<Self>,
        destination: SocketAddr,
        bound: Option<SocketAddr>,
    ) -> io::Result<(SocketAddr, Membership)> {
        let unspecified = match destination {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let bound_ip = bound.map_or(unspecified, |bound| bound.ip());
        let ip = self.source_ip(destination.ip(), bound_ip)?;
        let mut state = self.state.lock();
        let State { tcp, links, .. } = live(&mut state)?;
        if links.len() >= self.spec.connections_max {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let port = match bound {
            Some(bound) if links.is_paired(&(bound.port(), destination)) => {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            Some(bound) => bound.port(),
            None => tcp.choose(|tcp, port| {
                !tcp.is_port_used(port) && !links.is_paired(&(port, destination))
            })?,
        };
        let id = links.add(Some((port, destination)));
        drop(state);
        Ok((SocketAddr::new(ip, port), Membership::new(self, id)))
    }
}

/// The state of a namespace that has not ended.
fn live(state: &mut State) -> io::Result<&mut State> {
    if state.ended { Err(io::ErrorKind::NotConnected.into()) } else { Ok(state) }
}

fn close(slot: Option<Slot>) {
    match slot {
        Some(Slot::Queue(queue, _)) => queue.close(),
        Some(Slot::Bound | Slot::Callback(..)) | None => {}
    }
}

impl fmt::Debug for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetNs({} {:?})", self.spec.tag, self.spec.ips)
    }
}
