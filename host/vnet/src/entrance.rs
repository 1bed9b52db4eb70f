//! Datagrams that come in at a real socket of this machine, for a node port or a host port. Each
//! client's flow keeps its backend, and is answered through the same socket.
//!
//! An edge: it waits for the socket.

use crate::clock;
use crate::fabric::Fabric;
use crate::flows::FLOW_IDLE_MAX;
use crate::route::{Flow, Protocol};
use crate::udp::{DATAGRAM_BYTES_MAX, DatagramSink};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// Most clients that one socket remembers, so that forged addresses cost no memory; the one silent
/// for longest is forgotten.
const CLIENTS_MAX: usize = 4096;

/// What pods see of clients on this machine's own loopback, whose address is the pod's own to itself.
/// *Source:* the "IPv4 dummy address" of RFC 7600 and the discard prefix of RFC 6666, which belong to
/// nobody; kube-proxy has the node's address here.
const LOCAL_CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// As [`LOCAL_CLIENT_V4`].
const LOCAL_CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8);

/// Pause after a failed read: trying again at once could spin.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// Which backend each client has.
#[derive(Default)]
struct Clients {
    flows: HashMap<SocketAddr, Entry>,
}

struct Entry {
    backend: SocketAddr,
    used: Instant,
    /// The way to a backend that is not on the fabric.
    beyond: Option<Arc<dyn DatagramSink>>,
}

impl Clients {
    /// The backend of a client that was not silent for too long.
    fn backend(&self, client: SocketAddr, now: Instant) -> Option<SocketAddr> {
        let flow = self.flows.get(&client)?;
        let idle = now.saturating_duration_since(flow.used);
        (idle < FLOW_IDLE_MAX).then_some(flow.backend)
    }

    fn set(&mut self, client: SocketAddr, backend: SocketAddr, now: Instant) {
        if self.flows.len() >= CLIENTS_MAX && !self.flows.contains_key(&client) {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used);
            if let Some(oldest) = oldest.map(|(client, _)| *client) {
                self.flows.remove(&oldest);
            }
        }
        let before = self.flows.remove(&client).filter(|flow| flow.backend == backend);
        let beyond = before.and_then(|flow| flow.beyond);
        self.flows.insert(client, Entry { backend, used: now, beyond });
    }

    /// The way to the client's backend, when it is not on the fabric.
    fn beyond(&self, client: SocketAddr) -> Option<Arc<dyn DatagramSink>> {
        self.flows.get(&client)?.beyond.clone()
    }

    fn set_beyond(&mut self, client: SocketAddr, way: Arc<dyn DatagramSink>) {
        if let Some(flow) = self.flows.get_mut(&client) {
            flow.beyond = Some(way);
        }
    }

    /// Keeps a flow open that only its backend still speaks on.
    fn answered(&mut self, client: SocketAddr, now: Instant) {
        if let Some(flow) = self.flows.get_mut(&client) {
            flow.used = now;
        }
    }
}

/// The address by which a pod knows a client. A socket of both families has IPv4 clients as mapped
/// addresses, which no socket of a pod would take for its own family's.
fn seen_as(client: SocketAddr) -> SocketAddr {
    let ip = match client.ip().to_canonical() {
        ip if !ip.is_loopback() => ip,
        IpAddr::V4(_) => LOCAL_CLIENT_V4.into(),
        IpAddr::V6(_) => LOCAL_CLIENT_V6.into(),
    };
    SocketAddr::new(ip, client.port())
}

/// The way back to a client outside.
struct Reply {
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    clients: Arc<Mutex<Clients>>,
}

impl DatagramSink for Reply {
    fn send(&self, data: Bytes) -> bool {
        self.clients.lock().answered(self.client, clock::now());
        // A full socket buffer drops the datagram, as networks do.
        if let Err(error) = self.socket.try_send_to(&data, self.client) {
            tracing::debug!(client = %self.client, %error, "reply datagram dropped");
        }
        true
    }
}

/// Hands the datagrams that reach `socket` to pods, until the future is dropped.
///
/// `pick` gives the backend of a client: it is told the one that the client has already, until that
/// was silent for 30 s, and gives the same back for as long as it may stay. Without a backend, a
/// datagram is dropped.
pub async fn serve_datagrams(
    socket: UdpSocket,
    fabric: Arc<Fabric>,
    pick: impl Fn(SocketAddr, Option<SocketAddr>) -> Option<SocketAddr>,
) {
    let socket = Arc::new(socket);
    let clients = Arc::new(Mutex::new(Clients::default()));
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(READ_PAUSE).await;
            continue;
        };
        let now = clock::now();
        let before = clients.lock().backend(client, now);
        let Some(backend) = pick(client, before) else { continue };
        clients.lock().set(client, backend, now);
        let data = buffer.get(..length).map(Bytes::copy_from_slice).unwrap_or_default();
        let reply =
            Arc::new(Reply { socket: Arc::clone(&socket), client, clients: Arc::clone(&clients) });
        if fabric.is_beyond(backend.ip()) {
            send_beyond(&fabric, &clients, (client, backend), data, reply);
            continue;
        }
        if let Err(error) = fabric.deliver_datagram(backend, seen_as(client), data, Some(reply)) {
            tracing::debug!(%backend, %error, "datagram from outside dropped");
        }
    }
}

/// Sends a client's datagram to a backend that is not on the fabric, on the way that is open or a new
/// one.
fn send_beyond(
    fabric: &Fabric,
    clients: &Mutex<Clients>,
    (client, backend): (SocketAddr, SocketAddr),
    data: Bytes,
    reply: Arc<Reply>,
) {
    let open = clients.lock().beyond(client);
    if open.is_some_and(|way| way.send(data.clone())) {
        return;
    }
    let source = seen_as(client);
    let flow = Flow { from: None, source, destination: backend, protocol: Protocol::Udp };
    match fabric.datagrams_beyond(&flow, backend, reply) {
        Some(way) => {
            way.send(data);
            clients.lock().set_beyond(client, way);
        }
        None => tracing::debug!(%backend, "datagram to a pod of another host dropped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: usize) -> SocketAddr {
        let port = u16::try_from(number % 60_000).unwrap() + 1;
        ([192, 0, 2, u8::try_from(number / 60_000).unwrap()], port).into()
    }

    #[test]
    fn a_client_on_loopback_is_not_the_pod_itself() {
        let check = |client: &str, seen: &str| {
            assert_eq!(seen_as(client.parse().unwrap()).to_string(), seen);
        };
        check("127.0.0.1:4000", "192.0.0.8:4000");
        check("[::1]:4000", "[100::8]:4000");
        check("203.0.113.9:4000", "203.0.113.9:4000");
        check("[::ffff:203.0.113.9]:4000", "203.0.113.9:4000");
        check("[::ffff:127.0.0.1]:4000", "192.0.0.8:4000");
        check("[2001:db8::9]:4000", "[2001:db8::9]:4000");
    }

    #[test]
    fn a_client_has_its_backend_until_it_was_silent_for_too_long() {
        let backend: SocketAddr = ([10, 128, 0, 1], 53).into();
        let start = clock::now();
        let mut clients = Clients::default();
        clients.set(client(1), backend, start);
        let almost = start + FLOW_IDLE_MAX - Duration::from_millis(1);
        assert_eq!(clients.backend(client(1), almost), Some(backend));
        assert_eq!(clients.backend(client(2), start), None);
        clients.answered(client(1), almost);
        assert_eq!(clients.backend(client(1), start + FLOW_IDLE_MAX), Some(backend));
        assert_eq!(clients.backend(client(1), almost + FLOW_IDLE_MAX), None);
    }

    #[test]
    fn one_client_too_many_drives_out_the_one_silent_for_longest() {
        let backend: SocketAddr = ([10, 128, 0, 1], 53).into();
        let start = clock::now();
        let mut clients = Clients::default();
        let at = |number: usize| start + Duration::from_micros(u64::try_from(number).unwrap());
        for number in 0..=CLIENTS_MAX {
            clients.set(client(number), backend, at(number));
        }
        assert_eq!(clients.flows.len(), CLIENTS_MAX);
        assert_eq!(clients.backend(client(0), start), None);
        assert_eq!(clients.backend(client(1), start), Some(backend));
        assert_eq!(clients.backend(client(CLIENTS_MAX), start), Some(backend));
    }
}
