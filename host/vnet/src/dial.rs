//! Connecting from a namespace: where it leads, and what is tried when nobody takes it there.

use crate::links::Membership;
use crate::listener::Accept;
use crate::netns::NetNs;
use crate::route::{Flow, Protocol, Route};
use crate::splice;
use crate::stream::VStream;
use futures::future::{BoxFuture, ready};
use futures::{FutureExt as _, TryFutureExt as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Backends of a Service that are tried for one connection, and how often it waits for one that is
/// being started: a table that lags behind by some pods is bridged, a Service of which nobody
/// listens is refused soon.
const TRIES_MAX: usize = 8;

enum Dialled {
    Virtual(VStream),
    Real {
        address: SocketAddr,
        source: SocketAddr,
        membership: Membership,
    },
    /// Refused now; worth another try when the future ends.
    Later(BoxFuture<'static, ()>),
    /// Somebody else connects, to this backend if it is a Service's.
    Uplink {
        connecting: BoxFuture<'static, io::Result<VStream>>,
        membership: Membership,
        backend: Option<SocketAddr>,
    },
}

/// What a destination comes to for a caller that can do without a byte stream.
pub enum Reached {
    /// A callback that listens on this fabric, and the backend that it is if the router led there instead
    /// of to the destination.
    Callback(Arc<dyn Accept>, Option<SocketAddr>),
    /// A connection.
    Stream(VStream),
}

/// One connection that is being made.
struct Dial {
    ns: Arc<NetNs>,
    destination: SocketAddr,
    bound: Option<SocketAddr>,
    /// Where the router led it when it was asked for the first time, if it was.
    first: Option<Route>,
    /// The backends that did not take it since it last waited.
    refused: Vec<SocketAddr>,
}

impl NetNs {
    /// Connects to `destination`, from `bound` when the socket was bound before. Everything virtual
    /// on this host is decided within the call; only a real address, another host and a backend that
    /// is being started ([`Router::starting`](crate::Router::starting)) take time. Dropping the
    /// future gives up.
    ///
    /// Of a Service, a backend that does not take the connection is passed over for another.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens or the router refuses (the text says why),
    /// `NetworkUnreachable` and `HostUnreachable` when no way leads there, `InvalidInput` for an
    /// address that cannot be connected to, `AddrInUse` when no source port is left,
    /// `QuotaExceeded` when the namespace has too many connections, and what a real network adds.
    pub fn connect_tcp(
        self: &Arc<Self>,
        destination: SocketAddr,
        bound: Option<SocketAddr>,
    ) -> BoxFuture<'static, io::Result<VStream>> {
        self.dial(destination, bound, None)
    }

    /// As [`NetNs::connect_tcp`], but where that would end in a callback of this fabric, the callback is
    /// given and no connection made: the router is asked once, and what it picks is where the request
    /// goes. A callback that drains is not given.
    ///
    /// # Errors
    /// As [`NetNs::connect_tcp`].
    pub fn reach(
        self: &Arc<Self>,
        destination: SocketAddr,
    ) -> BoxFuture<'static, io::Result<Reached>> {
        let own = self.is_own(destination.ip());
        let first = if own { None } else { self.route_to(destination) };
        let (callback, backend) = match &first {
            None if own => (self.callback_at(destination), None),
            Some(Route::Pod(at)) => {
                let there = self.fabric().ok().and_then(|fabric| fabric.get(at.ip()));
                (there.and_then(|ns| ns.callback_at(*at)), (*at != destination).then_some(*at))
            }
            None | Some(Route::Real(_) | Route::Refused(_)) => (None, None),
        };
        match callback {
            Some(callback) => ready(Ok(Reached::Callback(callback, backend))).boxed(),
            None => self.dial(destination, None, first).map_ok(Reached::Stream).boxed(),
        }
    }

    /// Tells the router how a backend, to which it led a connection or a request, answered: `well`, or with a
    /// failure of its own.
    pub fn answered(&self, backend: SocketAddr, well: bool) {
        if let Ok(fabric) = self.fabric() {
            fabric.answered(backend, well);
        }
    }

    fn dial(
        self: &Arc<Self>,
        destination: SocketAddr,
        bound: Option<SocketAddr>,
        first: Option<Route>,
    ) -> BoxFuture<'static, io::Result<VStream>> {
        let mut dial =
            Dial { ns: Arc::clone(self), destination, bound, first, refused: Vec::new() };
        match dial.once() {
            Ok(Dialled::Virtual(stream)) => ready(Ok(stream)).boxed(),
            Err(error) => ready(Err(error)).boxed(),
            Ok(dialled) => dial.go_on(dialled).boxed(),
        }
    }
}

impl Dial {
    /// Waits for what takes time, and tries again where that is of use.
    async fn go_on(mut self, first: Dialled) -> io::Result<VStream> {
        let mut dialled = first;
        for _ in 0..TRIES_MAX {
            match dialled {
                Dialled::Virtual(stream) => return Ok(stream),
                Dialled::Real { address, source, membership } => {
                    let stream = splice::connect(address, source, self.destination).await?;
                    let backend = (address != self.destination).then_some(address);
                    return Ok(stream.joined(membership).led_to(backend));
                }
                Dialled::Later(wait) => {
                    wait.await;
                    self.refused.clear();
                }
                Dialled::Uplink { connecting, membership, backend } => {
                    match (connecting.await, backend) {
                        (Ok(stream), backend) => {
                            return Ok(stream.joined(membership).led_to(backend));
                        }
                        (Err(error), Some(backend)) if is_refusal(&error) => {
                            self.ns.fabric()?.not_taken(backend, &error);
                            self.refused.push(backend);
                        }
                        (Err(error), _) => return Err(error),
                    }
                }
            }
            dialled = self.once()?;
        }
        let message = format!("nothing came to listen at {} in time", self.destination);
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, message))
    }

    /// Goes as far as it gets without waiting.
    fn once(&mut self) -> io::Result<Dialled> {
        let destination = self.destination;
        let ip = destination.ip();
        if destination.port() == 0 || ip.is_unspecified() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let (source, membership) = self.ns.depart(destination, self.bound)?;
        if self.ns.is_own(ip) {
            let near = self.ns.deliver(destination, source)?;
            return Ok(Dialled::Virtual(near.joined(membership)));
        }
        if let Some(uplink) = self.ns.fabric()?.uplink() {
            let connecting = uplink.connect(source, destination);
            return Ok(Dialled::Uplink { connecting, membership, backend: None });
        }
        self.route(source, membership)
    }

    /// Asks the router, and once more for each backend that does not take the connection.
    fn route(&mut self, source: SocketAddr, membership: Membership) -> io::Result<Dialled> {
        let (fabric, destination) = (self.ns.fabric()?, self.destination);
        let from = Some(self.ns.tag().clone());
        let flow = Flow { from, source, destination, protocol: Protocol::Tcp };
        let mut last = None;
        while self.refused.len() < TRIES_MAX {
            let asked = self.first.take();
            let route = asked.unwrap_or_else(|| fabric.route_past(&flow, &self.refused));
            let address = match route {
                Route::Pod(address) => address,
                Route::Real(address) => return Ok(Dialled::Real { address, source, membership }),
                Route::Refused(why) => {
                    let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, why);
                    let wait = fabric.starting(&flow, &self.refused).map(Dialled::Later);
                    return wait.ok_or_else(|| last.unwrap_or_else(refused));
                }
            };
            let backend = (address != destination).then_some(address);
            if let Some(connecting) = fabric.connect_beyond(&flow, address) {
                return Ok(Dialled::Uplink { connecting, membership, backend });
            }
            match (fabric.deliver(address, source), backend) {
                (Ok(mut near), backend) => {
                    near.set_peer(destination);
                    return Ok(Dialled::Virtual(near.joined(membership).led_to(backend)));
                }
                (Err(error), None) => return Err(error),
                (Err(error), Some(backend)) => {
                    fabric.not_taken(backend, &error);
                    self.refused.push(backend);
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()))
    }
}

/// Whether nobody took the connection, so that another backend may be asked: nothing was sent over it
/// yet, also where a host did not answer whether it took it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut
    )
}
