//! One host's switch: which address belongs to which namespace.

use crate::entrance::seen_at;
use crate::netns::{NetNs, NetNsSpec};
use crate::overlay::Overlay;
use crate::resolve::Resolver;
use crate::route::{Flow, Route, Router};
use crate::splice;
use crate::stream::VStream;
use crate::udp::{Datagram, DatagramSink};
use crate::uplink::{Nowhere, Uplink};
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;

/// Why a namespace cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// Another namespace has the address.
    #[error("address {ip} belongs to {owner}")]
    AddressInUse {
        /// The address.
        ip: IpAddr,
        /// The name of the namespace that has it.
        owner: String,
    },
}

/// All namespaces of one host, by address.
pub struct Fabric {
    router: Arc<dyn Router>,
    resolver: Arc<dyn Resolver>,
    namespaces: RwLock<HashMap<IpAddr, Arc<NetNs>>>,
    epoch: AtomicU64,
    uplink: Option<Arc<dyn Uplink>>,
    overlay: OnceLock<Arc<dyn Overlay>>,
}

impl Fabric {
    /// An empty fabric that asks `router` where flows go and `resolver` what names mean.
    #[must_use]
    pub fn new(router: Arc<dyn Router>, resolver: Arc<dyn Resolver>) -> Arc<Fabric> {
        let namespaces = RwLock::default();
        let epoch = AtomicU64::new(0);
        let overlay = OnceLock::new();
        Arc::new(Fabric { router, resolver, namespaces, epoch, uplink: None, overlay })
    }

    /// An empty fabric of which everything that leaves a namespace goes over `uplink`.
    #[must_use]
    pub fn with_uplink(uplink: Arc<dyn Uplink>, resolver: Arc<dyn Resolver>) -> Arc<Fabric> {
        Arc::new(Fabric {
            router: Arc::new(Nowhere),
            resolver,
            namespaces: RwLock::default(),
            epoch: AtomicU64::new(0),
            uplink: Some(uplink),
            overlay: OnceLock::new(),
        })
    }

    /// From now on connections to pods that are not here go over `overlay`. It is set once; later
    /// calls change nothing.
    pub fn set_overlay(&self, overlay: Arc<dyn Overlay>) {
        if self.overlay.set(overlay).is_err() {
            tracing::debug!("the fabric has an overlay already");
        }
    }

    pub(crate) fn overlay(&self) -> Option<&Arc<dyn Overlay>> {
        self.overlay.get()
    }

    /// Adds a namespace under all its addresses.
    ///
    /// # Errors
    /// [`AddError::AddressInUse`]; nothing is added then.
    pub fn add(self: &Arc<Self>, spec: NetNsSpec) -> Result<Arc<NetNs>, AddError> {
        let mut namespaces = self.namespaces.write();
        if let Some((ip, other)) = spec.ips.iter().find_map(|ip| Some((ip, namespaces.get(ip)?))) {
            return Err(AddError::AddressInUse { ip: *ip, owner: other.tag().to_string() });
        }
        let ns = NetNs::new(spec, Arc::downgrade(self));
        namespaces.extend(ns.ips().iter().map(|ip| (*ip, ns.clone())));
        Ok(ns)
    }

    /// Removes a namespace: its addresses and ports are free, its connections cut.
    pub fn remove(&self, ns: &Arc<NetNs>) {
        self.namespaces.write().retain(|_, other| !Arc::ptr_eq(other, ns));
        ns.end();
    }

    /// The namespace that has the address.
    #[must_use]
    pub fn get(&self, ip: IpAddr) -> Option<Arc<NetNs>> {
        self.namespaces.read().get(&ip).cloned()
    }

    /// Connects `source`, which may be any address, to whoever listens at `destination`, without
    /// asking the router: for what the host itself brings in (node ports, probes, port-forward).
    ///
    /// # Errors
    /// `HostUnreachable` when no namespace has the address, `ConnectionRefused` when nobody listens.
    pub fn deliver(&self, destination: SocketAddr, source: SocketAddr) -> io::Result<VStream> {
        match self.get(destination.ip()) {
            Some(ns) => ns.deliver(destination, source),
            None => Err(io::Error::new(
                io::ErrorKind::HostUnreachable,
                format!("no namespace has the address {}", destination.ip()),
            )),
        }
    }

    /// Joins a real connection, which came from `source`, with whoever listens at `destination`: a
    /// callback that takes real connections gets it as it is, for any other a task copies.
    ///
    /// # Errors
    /// As [`Fabric::deliver`]; the connection comes back with the error.
    pub fn deliver_real(
        &self,
        destination: SocketAddr,
        stream: TcpStream,
        source: SocketAddr,
    ) -> Result<(), (TcpStream, io::Error)> {
        let callback = self.get(destination.ip()).and_then(|ns| ns.callback_at(destination));
        let stream = match callback {
            Some(callback) => match callback.accept_real(stream) {
                Ok(()) => return Ok(()),
                Err(stream) => stream,
            },
            None => match self.join_beyond(destination, stream, source) {
                Ok(()) => return Ok(()),
                Err(stream) => stream,
            },
        };
        match self.deliver(destination, source) {
            Ok(far) => {
                splice::detached(stream, far);
                Ok(())
            }
            Err(error) => Err((stream, error)),
        }
    }

    /// Sends a datagram from outside to whoever is bound to `destination`; answers to `source` go
    /// to `reply`. Dropped when nobody is bound, as on a real network.
    ///
    /// # Errors
    /// `HostUnreachable` when no namespace has the address.
    pub fn deliver_datagram(
        &self,
        destination: SocketAddr,
        source: SocketAddr,
        data: Bytes,
        reply: Option<Arc<dyn DatagramSink>>,
    ) -> io::Result<()> {
        let ns = self.get(destination.ip()).ok_or(io::ErrorKind::HostUnreachable)?;
        let source = seen_at(destination, source);
        ns.deliver_datagram(destination, Datagram { data, source, reply });
        Ok(())
    }

    /// Says that Services or their endpoints changed: each UDP flow goes on only if the router lets it
    /// stay ([`Router::stays`]), and is routed anew otherwise.
    pub fn forget_flows(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Asks the router; useful to callers that take a shorter way than a byte stream.
    #[must_use]
    pub fn route(&self, flow: &Flow) -> Route {
        self.router.route(flow)
    }

    pub(crate) fn stays(&self, flow: &Flow, backend: SocketAddr) -> bool {
        self.router.stays(flow, backend)
    }

    pub(crate) fn route_past(&self, flow: &Flow, refused: &[SocketAddr]) -> Route {
        if refused.is_empty() {
            self.router.route(flow)
        } else {
            self.router.another(flow, refused)
        }
    }

    pub(crate) fn not_taken(&self, backend: SocketAddr, error: &io::Error) {
        self.router.not_taken(backend, error);
    }

    pub(crate) fn answered(&self, backend: SocketAddr, well: bool) {
        self.router.answered(backend, well);
    }

    pub(crate) fn starting(
        &self,
        flow: &Flow,
        refused: &[SocketAddr],
    ) -> Option<BoxFuture<'static, ()>> {
        self.router.starting(flow, refused)
    }

    pub(crate) fn uplink(&self) -> Option<&Arc<dyn Uplink>> {
        self.uplink.as_ref()
    }

    pub(crate) fn resolver(&self) -> &dyn Resolver {
        &*self.resolver
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fabric({} addresses)", self.namespaces.read().len())
    }
}
