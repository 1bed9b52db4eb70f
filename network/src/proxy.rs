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
    let mut refused = Vec::new();
    let tried = try_backends(stream, peer, port, &mut refused, (network, fabric));
    let Err((stream, why)) = tried else { return };
    let on_demand = network.read(|table| {
        table.node_port(port, Protocol::Tcp).is_some_and(|service| service.on_demand)
    });
    if !on_demand {
        return refuse(&stream, port, &why);
    }
    let (network, fabric) = (Arc::clone(network), Arc::clone(fabric));
    tokio::spawn(async move {
        let mut held = (stream, why);
        for _ in 0..HOLDS_MAX {
            if network.await_node_port(port, peer.ip(), &refused).await.is_none() {
                break;
            }
            refused.clear();
            held = match try_backends(held.0, peer, port, &mut refused, (&network, &fabric)) {
                Ok(()) => return,
                Err(held) => held,
            };
        }
        refuse(&held.0, port, &held.1);
    });
}

/// Gives the connection to the first backend that takes it; those that do not are added to
/// `refused`.
///
/// # Errors
/// The connection and why nobody took it.
fn try_backends(
    mut stream: TcpStream,
    peer: SocketAddr,
    port: u16,
    refused: &mut Vec<SocketAddr>,
    (network, fabric): (&Network, &Fabric),
) -> Result<(), (TcpStream, String)> {
    let mut why = "no ready endpoints".to_owned();
    while refused.len() < BACKENDS_TRIED_MAX {
        let picked = network.pick_node_port(port, Protocol::Tcp, peer.ip(), refused);
        let Some(backend) = picked else { break };
        refused.push(backend);
        if let Err(closed) = may_enter(network, peer, backend, Protocol::Tcp) {
            why = closed;
            continue;
        }
        match fabric.deliver_real(backend, stream, peer) {
            Ok(()) => return Ok(()),
            Err((back, error)) => (stream, why) = (back, error.to_string()),
        }
    }
    Err((stream, why))
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
