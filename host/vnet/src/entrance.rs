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
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
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

/// The key by which IPv6 senders get IPv4 addresses, anew in each process: nobody outside can compute whose
/// address would be another's, whose replies it could then get.
static SENDERS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The address by which a pod knows a sender from outside that is of the other family than itself: its sockets
/// could neither take nor answer it. The same for every datagram of a sender, until this process ends.
///
/// *Source:* RFC 6052 for IPv4 senders: the well-known prefix 64:ff9b::/96 before the address. No such rule fits an
/// IPv6 address into IPv4; addresses of the reserved class E (RFC 1112 §4), which belong to nobody, are made
/// of its hash, as content networks do for origins that know IPv4 alone.
pub(crate) fn seen_at(destination: SocketAddr, source: SocketAddr) -> SocketAddr {
    let ip = match (destination.ip(), source.ip()) {
        (IpAddr::V4(_), IpAddr::V6(sender)) => reserved(sender, &SENDERS).into(),
        (IpAddr::V6(_), IpAddr::V4(sender)) => {
            let [a, b, c, d] = sender.octets().map(u16::from);
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d).into()
        }
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => return source,
    };
    SocketAddr::new(ip, source.port())
}

/// An IPv4 address of class E for a sender.
fn reserved(sender: Ipv6Addr, key: &RandomState) -> Ipv4Addr {
    // Of the 2^28 addresses, neither the first nor the last one, which is the broadcast address.
    let number = (key.hash_one(sender) >> 32) as u32 % 0x0fff_fffe + 1;
    Ipv4Addr::from(0xf000_0000 | number)
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
    fn a_sender_of_the_other_family_has_an_address_of_the_pods_own() {
        let check = |pod: &str, source: &str, seen: &str| {
            let seen_here = seen_at(pod.parse().unwrap(), source.parse().unwrap());
            assert_eq!(seen_here.to_string(), seen);
        };
        check("10.128.0.2:53", "203.0.113.9:4000", "203.0.113.9:4000");
        check("[fd00::2]:53", "[2001:db8::9]:4000", "[2001:db8::9]:4000");
        check("[fd00::2]:53", "203.0.113.9:4000", "[64:ff9b::cb00:7109]:4000");
        let pod = "10.128.0.2:53".parse().unwrap();
        for number in 0..2000_u16 {
            let source = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number), number).into();
            let seen = seen_at(pod, source);
            let IpAddr::V4(ip) = seen.ip() else { panic!("{seen} is of the sender's family") };
            assert!(ip.octets()[0] >= 240 && !ip.is_broadcast(), "{seen}");
            assert_eq!((seen, seen.port()), (seen_at(pod, source), number), "it stays the same");
        }
    }

    /// Two keys would have to give 1,000 senders the same 28 bits each.
    #[test]
    fn the_address_of_a_sender_cannot_be_known_without_the_key() {
        let other = RandomState::new();
        let mut senders = (0..1000_u16).map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
        assert!(senders.any(|sender| reserved(sender, &SENDERS) != reserved(sender, &other)));
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
