//! Any sequence of calls on two namespaces: a port has one owner, what ends gives everything back, and
//! nothing panics.
//!
//! `PROPTEST_CASES` makes it go on for longer.

use crate::world::{noop, world};
use bytes::Bytes;
use coracle_vnet::{Listener, NetNs, PortGuard, UdpSocket, VStream};
use futures::FutureExt as _;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Clone, Debug)]
enum Call {
    Bind(bool, u8, u16),
    BindUdp(bool, u8, u16),
    Listen(usize),
    Connect(bool, u8, u16),
    Deliver(u8, u16),
    Accept(usize),
    Write(usize, usize),
    Read(usize),
    Send(usize, u8, u16),
    Receive(usize),
    DropGuard(usize),
    DropListener(usize),
    DropStream(usize),
    DropUdp(usize),
}

/// Addresses that are its own, the other's, everybody's and nobody's.
fn ip(number: u8) -> IpAddr {
    let text = [
        "0.0.0.0",
        "127.0.0.1",
        "10.128.0.1",
        "10.128.0.2",
        "10.128.0.9",
        "::",
        "::1",
        "fd00::1",
        "fd00::2",
        "255.255.255.255",
        "169.254.169.254",
        "::ffff:10.128.0.1",
    ];
    let text = text.get(usize::from(number) % text.len()).copied().unwrap_or("0.0.0.0");
    text.parse().expect("an address")
}

fn call() -> impl Strategy<Value = Call> {
    let port = || prop_oneof![Just(0_u16), Just(80), Just(81), Just(65_535)];
    let pod = any::<bool>;
    let number = || 0..8_usize;
    let address = || (any::<u8>(), port());
    prop_oneof![
        (pod(), address()).prop_map(|(pod, (ip, port))| Call::Bind(pod, ip, port)),
        (pod(), address()).prop_map(|(pod, (ip, port))| Call::BindUdp(pod, ip, port)),
        number().prop_map(Call::Listen),
        (pod(), address()).prop_map(|(pod, (ip, port))| Call::Connect(pod, ip, port)),
        address().prop_map(|(ip, port)| Call::Deliver(ip, port)),
        number().prop_map(Call::Accept),
        (number(), 0..400_000_usize).prop_map(|(stream, bytes)| Call::Write(stream, bytes)),
        number().prop_map(Call::Read),
        (number(), address()).prop_map(|(socket, (ip, port))| Call::Send(socket, ip, port)),
        number().prop_map(Call::Receive),
        number().prop_map(Call::DropGuard),
        number().prop_map(Call::DropListener),
        number().prop_map(Call::DropStream),
        number().prop_map(Call::DropUdp),
    ]
}

#[derive(Default)]
struct Held {
    guards: Vec<PortGuard>,
    listeners: Vec<Listener>,
    streams: Vec<VStream>,
    sockets: Vec<UdpSocket>,
}

fn drop_one<T>(held: &mut Vec<T>, number: usize) {
    if number < held.len() {
        held.swap_remove(number);
    }
}

impl Held {
    fn make(&mut self, call: &Call, pods: &[Arc<NetNs>; 2]) {
        let pod = |second: bool| &pods[usize::from(second)];
        let at = |number: u8, port: u16| SocketAddr::new(ip(number), port);
        match *call {
            Call::Bind(second, number, port) => {
                if let Ok(guard) = pod(second).bind_tcp(at(number, port)) {
                    let own = guard.local_addr();
                    assert!(pod(second).bind_tcp(own).is_err(), "{own} has one owner");
                    self.guards.push(guard);
                }
            }
            Call::BindUdp(second, number, port) => {
                self.sockets.extend(pod(second).bind_udp(at(number, port)));
            }
            Call::Listen(number) if number < self.guards.len() => {
                let guard = self.guards.swap_remove(number);
                self.listeners.extend(guard.listen(1, None));
            }
            Call::Connect(second, number, port) => {
                let connecting = pod(second).connect_tcp(at(number, port), None).now_or_never();
                self.streams.extend(connecting.and_then(Result::ok));
            }
            Call::Deliver(number, port) => {
                let from = SocketAddr::from(([192, 0, 2, 1], 7));
                self.streams.extend(pods[0].deliver(at(number, port), from));
            }
            Call::Accept(number) => {
                if let Some(listener) = self.listeners.get(number)
                    && let Poll::Ready(Ok(stream)) = listener.poll_accept(&mut noop())
                {
                    self.streams.push(stream);
                }
            }
            Call::Write(number, bytes) => {
                if let Some(stream) = self.streams.get_mut(number) {
                    let _ = Pin::new(stream).poll_write(&mut noop(), &vec![0; bytes]);
                }
            }
            Call::Read(number) => {
                if let Some(stream) = self.streams.get_mut(number) {
                    let mut bytes = [0; 1000];
                    let _ = Pin::new(stream).poll_read(&mut noop(), &mut ReadBuf::new(&mut bytes));
                }
            }
            Call::Send(number, to, port) => {
                if let Some(socket) = self.sockets.get(number) {
                    let _ = socket.send(at(to, port), Bytes::from_static(b"x"));
                }
            }
            Call::Receive(number) => {
                if let Some(socket) = self.sockets.get(number) {
                    let _ = socket.try_recv();
                }
            }
            Call::DropGuard(number) => drop_one(&mut self.guards, number),
            Call::DropListener(number) => drop_one(&mut self.listeners, number),
            Call::DropStream(number) => drop_one(&mut self.streams, number),
            Call::DropUdp(number) => drop_one(&mut self.sockets, number),
            Call::Listen(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_ends_gives_everything_back(calls in prop::collection::vec(call(), 1..60)) {
        let world = world();
        let pods = [world.a.clone(), world.b.clone()];
        let mut held = Held::default();
        for call in &calls {
            held.make(call, &pods);
            for pod in &pods {
                prop_assert!(pod.buffered_bytes() <= coracle_vnet::BUFFER_BYTES_MAX);
            }
        }
        drop(held);
        for pod in &pods {
            prop_assert_eq!(pod.connections(), 0);
            prop_assert_eq!(pod.buffered_bytes(), 0);
            for port in [80, 81, 65_535] {
                let all = SocketAddr::new(ip(0), port);
                prop_assert!(pod.bind_tcp(all).is_ok() && pod.bind_udp(all).is_ok(), "{}", all);
            }
        }
    }
}
