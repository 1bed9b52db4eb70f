//! Real sockets of this machine for what listens in a namespace that has the machine's own addresses:
//! one for each such port, for as long as it is taken.
//!
//! An edge: it waits for the sockets.

use crate::entrance;
use crate::netns::NetNs;
use crate::splice;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Pause after a failed accept: accepting again at once would spin when descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An open real socket; dropping it closes it.
pub(crate) struct Door(JoinHandle<()>);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Door {
    /// Takes connections of the machine's network at `local`.
    ///
    /// # Errors
    /// As the operating system's, so `AddrInUse` where another program listens.
    pub(crate) fn tcp(ns: &Arc<NetNs>, local: SocketAddr) -> io::Result<Door> {
        let runtime = runtime()?;
        let listener = std::net::TcpListener::bind(local)?;
        listener.set_nonblocking(true)?;
        let _entered = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        Ok(Door(runtime.spawn(accept(listener, Arc::downgrade(ns)))))
    }

    /// Takes datagrams of the machine's network at `local`, and answers from there.
    ///
    /// # Errors
    /// As [`Door::tcp`].
    pub(crate) fn udp(ns: &NetNs, local: SocketAddr) -> io::Result<Door> {
        let (runtime, fabric) = (runtime()?, ns.fabric()?);
        let socket = std::net::UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        let _entered = runtime.enter();
        let socket = UdpSocket::from_std(socket)?;
        let of_family = ns.ips().iter().find(|ip| ip.is_ipv4() == local.is_ipv4());
        let ip = of_family.copied().filter(|_| local.ip().is_unspecified()).unwrap_or(local.ip());
        let backend = SocketAddr::new(ip, local.port());
        let serve = entrance::serve_datagrams(socket, fabric, move |_, _| Some(backend));
        Ok(Door(runtime.spawn(serve)))
    }
}

fn runtime() -> io::Result<Handle> {
    Handle::try_current().map_err(io::Error::other)
}

async fn accept(listener: TcpListener, ns: Weak<NetNs>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(ns) = ns.upgrade() else { return };
        if let Err((stream, error)) = enter(&ns, stream, peer) {
            tracing::debug!(%peer, %error, "connection to a pod with the host's network refused");
            // A client sees a reset as "connection refused".
            if let Err(error) = stream.set_zero_linger() {
                tracing::debug!(%error, "set SO_LINGER on a refused connection");
            }
        }
    }
}

/// Joins a real connection with whoever listens where it came in.
fn enter(
    ns: &Arc<NetNs>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Result<(), (TcpStream, io::Error)> {
    let local = match stream.local_addr() {
        Ok(local) => SocketAddr::new(local.ip().to_canonical(), local.port()),
        Err(error) => return Err((stream, error)),
    };
    let stream = match ns.callback_at(local) {
        Some(callback) => match callback.accept_real(stream) {
            Ok(()) => return Ok(()),
            Err(stream) => stream,
        },
        None => stream,
    };
    match ns.deliver(local, SocketAddr::new(peer.ip().to_canonical(), peer.port())) {
        Ok(far) => {
            splice::detached(stream, far);
            Ok(())
        }
        Err(error) => Err((stream, error)),
    }
}
