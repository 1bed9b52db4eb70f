//! Node ports: real listeners of the host whose connections end in pods.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use coracle_vnet::{Fabric, Protocol};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::network::Network;
use crate::policy::guard::Arrival;

/// How long to wait before a port that something else holds is tried again.
const BIND_RETRY: Duration = Duration::from_secs(5);

/// Backends that are tried for one connection: a table that lags behind by some pods is bridged, a
/// Service of which nobody listens is refused soon.
const BACKENDS_TRIED_MAX: usize = 8;

/// How often a held connection is tried: each time it waits up to a second for a backend that did
/// not refuse it before.
const HOLDS_MAX: usize = 8;

/// The open node ports of this host, each with the task that accepts on it.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    tasks: HashMap<(u16, Protocol), JoinHandle<()>>,
}

impl Listeners {
    /// Opens and closes ports until just the table's node ports are open.
    pub(crate) fn follow(&mut self, network: &Arc<Network>, fabric: &Arc<Fabric>) {
        let wanted = network.read(crate::table::Table::node_ports);
        self.tasks.retain(|port, task| {
            let keep = wanted.contains(port);
            if !keep {
                task.abort();
            }
            keep
        });
        for (port, protocol) in wanted {
            self.tasks.entry((port, protocol)).or_insert_with(|| {
                let (network, fabric) = (Arc::clone(network), Arc::clone(fabric));
                tokio::spawn(async move {
                    match protocol {
                        Protocol::Tcp => serve_tcp(port, network, fabric).await,
                        Protocol::Udp => serve_udp(port, network, fabric).await,
                    }
                })
            });
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

async fn serve_tcp(port: u16, network: Arc<Network>, fabric: Arc<Fabric>) {
    let listener = bind(port, |address| async move { TcpListener::bind(address).await }).await;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => connect(stream, peer, port, &network, &fabric),
            Err(error) => {
                // Out of descriptors, mostly: accepting again at once would spin.
                tracing::warn!(port, %error, "accept on a node port");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What came of a connection so far.
enum Tried {
    /// A pod of this host has it.
    Taken,
    /// It is a pod's of another host, if that one takes it.
    Beyond(TcpStream, SocketAddr),
    /// Nobody takes it, and why.
    Nobody(TcpStream, String),
}

/// A connection that came to a node port.
struct Coming {
    peer: SocketAddr,
    port: u16,
    network: Arc<Network>,
    fabric: Arc<Fabric>,
    /// The backends that were tried since it was last held.
    tried: Vec<SocketAddr>,
}

/// Joins a real connection with a pod's; without a backend it is reset, which a client sees as
/// "connection refused" does elsewhere. A backend that does not take it is passed over for another.
///
/// A connection to a Service on demand is held until there is a backend; what the client has sent
/// meanwhile waits in the socket.
fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    port: u16,
    network: &Arc<Network>,
    fabric: &Arc<Fabric>,
) {
    let (network, fabric) = (Arc::clone(network), Arc::clone(fabric));
    let mut coming = Coming { peer, port, network, fabric, tried: Vec::new() };
    match coming.try_here(stream) {
        Tried::Taken => {}
        tried @ (Tried::Beyond(..) | Tried::Nobody(..)) => {
            tokio::spawn(coming.go_on(tried));
        }
    }
}

impl Coming {
    /// Tries backends until one has it, or one of another host has to be asked.
    fn try_here(&mut self, mut stream: TcpStream) -> Tried {
        let mut why = "no ready endpoints".to_owned();
        while self.tried.len() < BACKENDS_TRIED_MAX {
            let client = self.peer.ip();
            let picked = self.network.pick_node_port(self.port, Protocol::Tcp, client, &self.tried);
            let Some(backend) = picked else { break };
            self.tried.push(backend);
            if let Err(closed) = may_enter(&self.network, self.peer, backend, Protocol::Tcp) {
                why = closed;
                continue;
            }
            if self.fabric.is_beyond(backend.ip()) {
                return Tried::Beyond(stream, backend);
            }
            match self.fabric.deliver_real(backend, stream, self.peer) {
                Ok(()) => return Tried::Taken,
                Err((back, error)) => {
                    self.network.not_taken(backend, &error);
                    (stream, why) = (back, error.to_string());
                }
            }
        }
        Tried::Nobody(stream, why)
    }

    /// Does what takes time: asks other hosts, and waits for pods that are being started.
    async fn go_on(mut self, mut tried: Tried) {
        let mut holds = 0;
        loop {
            tried = match tried {
                Tried::Taken => return,
                Tried::Beyond(stream, backend) => {
                    match self.fabric.deliver_anywhere(backend, self.peer).await {
                        Ok(far) => return coracle_vnet::splice(stream, far).await,
                        Err(error) => {
                            tracing::debug!(%error, %backend, "passed over");
                            self.network.not_taken(backend, &error);
                            self.try_here(stream)
                        }
                    }
                }
                Tried::Nobody(stream, why) => {
                    holds += 1;
                    if holds > HOLDS_MAX || !self.is_worth_waiting().await {
                        return refuse(&stream, self.port, &why);
                    }
                    self.tried.clear();
                    self.try_here(stream)
                }
            };
        }
    }

    /// Waits until the Service has a backend that was not tried, if it is one on demand.
    async fn is_worth_waiting(&self) -> bool {
        let on_demand = self.network.read(|table| {
            let port = table.node_port(self.port, Protocol::Tcp);
            port.is_some_and(|service| service.on_demand)
        });
        on_demand
            && self.network.await_node_port(self.port, self.peer.ip(), &self.tried).await.is_some()
    }
}

/// What policies say to a client of a node port; on another host, that one asks.
fn may_enter(
    network: &Network,
    client: SocketAddr,
    backend: SocketAddr,
    protocol: Protocol,
) -> Result<(), String> {
    let source = client.ip().to_canonical();
    let arrival = Arrival { source, from: None, peer: None, destination: backend, protocol };
    network.admit(&arrival)
}

fn refuse(stream: &TcpStream, port: u16, reason: &str) {
    tracing::debug!(port, reason, "node port connection refused");
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "set SO_LINGER on a refused connection");
    }
}

async fn serve_udp(port: u16, network: Arc<Network>, fabric: Arc<Fabric>) {
    let socket = bind(port, |address| async move { UdpSocket::bind(address).await }).await;
    let pick = |client: SocketAddr, before| {
        let backend = network.keep_node_port(port, client.ip(), before)?;
        may_enter(&network, client, backend, Protocol::Udp).is_ok().then_some(backend)
    };
    coracle_vnet::serve_datagrams(socket, fabric, pick).await;
}

/// Binds the port on all addresses, and tries again for as long as something else holds it.
async fn bind<L, F>(port: u16, open: impl Fn(SocketAddr) -> F) -> L
where
    F: Future<Output = io::Result<L>>,
{
    let mut told = false;
    loop {
        match open((Ipv4Addr::UNSPECIFIED, port).into()).await {
            Ok(listener) => return listener,
            Err(error) if told => tracing::debug!(port, %error, "node port still not free"),
            Err(error) => {
                told = true;
                tracing::warn!(port, %error, "cannot open node port; trying again every 5 s: free the port or give the Service another nodePort");
            }
        }
        tokio::time::sleep(BIND_RETRY).await;
    }
}
