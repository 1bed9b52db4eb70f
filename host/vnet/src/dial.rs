//! Connecting from a namespace: where it leads, and what is tried when nobody takes it there.

use crate::links::Membership;
use crate::netns::NetNs;
use crate::route::{Flow, Protocol, Route};
use crate::splice;
use crate::stream::VStream;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
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

/// One connection that is being made.
struct Dial {
    ns: Arc<NetNs>,
    destination: SocketAddr,
    bound: Option<SocketAddr>,
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
        let mut dial = Dial { ns: Arc::clone(self), destination, bound, refused: Vec::new() };
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
                    return Ok(stream.joined(membership));
                }
                Dialled::Later(wait) => {
                    wait.await;
                    self.refused.clear();
                }
                Dialled::Uplink { connecting, membership, backend } => {
                    match (connecting.await, backend) {
                        (Ok(stream), _) => return Ok(stream.joined(membership)),
                        (Err(error), Some(backend)) if is_refusal(&error) => {
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
            let address = match fabric.route_past(&flow, &self.refused) {
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
                (Ok(mut near), _) => {
                    near.set_peer(destination);
                    return Ok(Dialled::Virtual(near.joined(membership)));
                }
                (Err(error), None) => return Err(error),
                (Err(error), Some(backend)) => {
                    self.refused.push(backend);
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()))
    }
}

/// Whether nobody took the connection, as against a network that failed on the way.
fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
        || error.kind() == io::ErrorKind::HostUnreachable
}
