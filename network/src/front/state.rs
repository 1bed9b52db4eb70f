//! What every connection looks at: the routes of now, the certificates, and the ways to backends.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use coracle_telemetry::Seen;
use coracle_vnet::Fabric;
use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::certificates::Certificates;
use super::pool::Pool;
use super::routes::{Backend, Routes};
use crate::network::Network;
use crate::policy::guard::Arrival;
use crate::switch::Ranges;
use crate::table::ServicePort;

/// Connections of clients at once, over all ports: each costs a descriptor and some tens of KiB. One
/// more waits in the listener's queue.
const CONNECTIONS_MAX: usize = 16_384;

/// Time to connect to a backend.
const CONNECT_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// The way in of one host.
pub(super) struct Front {
    network: Arc<Network>,
    fabric: Arc<Fabric>,
    ranges: Ranges,
    routes: RwLock<Arc<Routes>>,
    /// Certificates of TLS.
    pub(super) certificates: Certificates,
    /// Connections to backends.
    pub(super) pool: Arc<Pool>,
    /// Places for connections of clients.
    pub(super) slots: Arc<Semaphore>,
}

/// A connection to a backend.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Front {
    pub(super) fn new(
        network: &Arc<Network>,
        fabric: &Arc<Fabric>,
        ranges: Ranges,
        certificates: Certificates,
    ) -> Self {
        Self {
            network: Arc::clone(network),
            fabric: Arc::clone(fabric),
            ranges,
            routes: RwLock::default(),
            certificates,
            pool: Arc::default(),
            slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }

    /// The routes as they are now.
    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read())
    }

    /// Takes new routes; requests that are under way keep theirs.
    pub(super) fn set_routes(&self, routes: Arc<Routes>) {
        *self.routes.write() = routes;
    }

    /// A backend for a client, besides those in `refused`. For a Service on demand it waits for one.
    pub(super) async fn pick(
        &self,
        backend: &Backend,
        client: IpAddr,
        refused: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let find = || self.service_port(backend);
        let port = find()?;
        if let Some(address) = self.network.pick_past(&port, client, refused) {
            return Some(address);
        }
        if !port.on_demand {
            return None;
        }
        let on_demand = || find().filter(|port| port.on_demand);
        self.network.await_backend(on_demand, client, refused).await
    }

    /// Remembers how a backend answered a request.
    pub(super) fn answered(&self, backend: SocketAddr, well: bool) {
        self.network.answered(backend, well);
    }

    fn service_port(&self, backend: &Backend) -> Option<Arc<ServicePort>> {
        self.network.read(|table| table.service_port(&backend.service, backend.port))
    }

    /// Notes a request that was answered.
    pub(super) fn seen(&self, seen: Seen) {
        self.network.seen(seen);
    }

    /// What policies say to a client; on another host, that one asks.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn may_enter(&self, client: SocketAddr, backend: SocketAddr) -> Result<(), String> {
        self.network.admit(&Arrival {
            source: client.ip(),
            from: None,
            peer: None,
            destination: backend,
            protocol: coracle_vnet::Protocol::Tcp,
        })
    }

    /// Connects to a backend, which sees the client's own address: to a pod over the fabric, to the
    /// address of a hand-made endpoint over the real network.
    ///
    /// # Errors
    /// What the connection says; `PermissionDenied` for an address of this machine, to which no
    /// Service may lead the outside.
    pub(super) async fn reach(
        &self,
        backend: SocketAddr,
        client: SocketAddr,
    ) -> io::Result<Box<dyn Wire>> {
        let ip = backend.ip();
        let joined = async {
            if self.ranges.is_pod(ip) || self.fabric.get(ip).is_some() {
                let stream = self.fabric.deliver_anywhere(backend, client).await?;
                return Ok(Box::new(stream) as Box<dyn Wire>);
            }
            if self.ranges.host.contains(&ip) || crate::egress::is_never_granted(ip) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let stream = TcpStream::connect(backend).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        };
        let reached = timeout(CONNECT_MAX, joined).await;
        let reached = reached.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        reached.inspect_err(|error| self.network.not_taken(backend, error))
    }
}
