//! Where the pod listens and receives: the namespace that the rest of the host knows has the same
//! ports, and passes on what comes.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use coracle_vnet::{Accept, NetNs, PortGuard, UdpSocket, VStream};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::worker::link::{self, DatagramHead, Link};
use crate::worker::wire::ToWorker;

/// The ports of a pod that lives in a worker.
pub(super) struct Ports {
    netns: Arc<NetNs>,
    link: Arc<Link>,
    tcp: Mutex<HashMap<SocketAddr, PortGuard>>,
    udp: Mutex<HashMap<SocketAddr, Receiving>>,
}

/// A UDP socket and the task that passes on what it receives.
struct Receiving {
    socket: Arc<UdpSocket>,
    task: JoinHandle<()>,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ports {
    pub(super) fn new(netns: Arc<NetNs>, link: Arc<Link>) -> Self {
        Self { netns, link, tcp: Mutex::default(), udp: Mutex::default() }
    }

    /// Takes and frees ports so that they are these. A port that cannot be taken stays closed.
    pub(super) fn set(&self, tcp: &[SocketAddr], udp: &[SocketAddr]) {
        self.set_tcp(&tcp.iter().copied().collect());
        self.set_udp(&udp.iter().copied().collect());
    }

    /// Frees all.
    pub(super) fn clear(&self) {
        self.set(&[], &[]);
    }

    fn set_tcp(&self, wanted: &HashSet<SocketAddr>) {
        let mut tcp = self.tcp.lock();
        tcp.retain(|address, _| wanted.contains(address));
        for address in wanted {
            if tcp.contains_key(address) {
                continue;
            }
            let taken = self.netns.bind_tcp(*address).and_then(|guard| {
                guard.listen_with(Arc::new(Gate { link: self.link.clone() }), None)?;
                Ok(guard)
            });
            match taken {
                Ok(guard) => drop(tcp.insert(*address, guard)),
                Err(error) => tracing::warn!(%address, %error, "a worker's port stays closed"),
            }
        }
    }

    fn set_udp(&self, wanted: &HashSet<SocketAddr>) {
        let mut udp = self.udp.lock();
        udp.retain(|address, _| wanted.contains(address));
        for address in wanted {
            if udp.contains_key(address) || address.ip().is_loopback() {
                continue;
            }
            let Some(local) = self.own(*address) else { continue };
            match self.netns.bind_udp(*address) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    let task = receive(socket.clone(), self.link.clone(), local);
                    udp.insert(*address, Receiving { socket, task: tokio::spawn(task) });
                }
                Err(error) => tracing::warn!(%address, %error, "a worker's port stays closed"),
            }
        }
    }

    /// The address that others know a socket by that is bound to `address`.
    fn own(&self, address: SocketAddr) -> Option<SocketAddr> {
        if !address.ip().is_unspecified() {
            return Some(address);
        }
        let ip = self.netns.ips().iter().find(|ip| ip.is_ipv4() == address.is_ipv4())?;
        Some(SocketAddr::new(*ip, address.port()))
    }

    /// Sends a datagram from one of the pod's sockets; one from elsewhere is lost.
    pub(super) fn send(&self, head: &DatagramHead, data: Bytes) {
        let udp = self.udp.lock();
        let exact = udp.get(&head.local);
        let found = exact.or_else(|| {
            udp.iter().find(|(bound, _)| self.own(**bound) == Some(head.local)).map(|found| found.1)
        });
        let socket = found.map(|receiving| receiving.socket.clone());
        drop(udp);
        if let Some(socket) = socket
            && let Err(error) = socket.send(head.remote, data)
        {
            tracing::debug!(to = %head.remote, %error, "a worker's datagram was not sent");
        }
    }
}

async fn receive(socket: Arc<UdpSocket>, link: Arc<Link>, local: SocketAddr) {
    loop {
        std::future::poll_fn(|context| socket.poll_readable(context)).await;
        match socket.try_recv() {
            Ok(Some(datagram)) => {
                let head = DatagramHead { local, remote: datagram.source };
                if !link.send_datagram(&head, &datagram.data) {
                    return;
                }
            }
            Ok(None) => {}
            // The namespace has ended.
            Err(_) => return,
        }
    }
}

/// Passes connections on to the worker.
struct Gate {
    link: Arc<Link>,
}

impl Accept for Gate {
    fn accept(&self, connection: VStream) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            tracing::warn!("connection refused: not on a tokio runtime");
            return;
        };
        let stream = self.link.open();
        let accept = ToWorker::Accept {
            stream: stream.id(),
            destination: connection.local_addr(),
            source: connection.peer_addr(),
        };
        match self.link.send(&accept, Vec::new()) {
            Ok(()) => drop(runtime.spawn(link::join(connection, stream))),
            Err(error) => tracing::warn!(%error, "connection refused: cannot tell the worker"),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
