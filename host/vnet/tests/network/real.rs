//! Out of the fabric and into real sockets, when the router says so.

use crate::world::{addr, world};
use bytes::Bytes;
use coracle_vnet::{NetNsSpec, NsTag, Route};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_real_server_answers_under_the_address_that_was_dialled() {
    let world = world();
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    world.routes.set("93.184.216.34:80", Route::Real(server.local_addr().expect("bound")));
    let serve = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.expect("accept");
        let mut request = Vec::new();
        stream.read_to_end(&mut request).await.expect("read");
        stream.write_all(b"answer to ").await.expect("write");
        stream.write_all(&request).await.expect("write");
    });
    let connecting = world.a.connect_tcp(addr("93.184.216.34:80"), None);
    let mut stream = connecting.await.expect("connect");
    assert_eq!(stream.peer_addr(), addr("93.184.216.34:80"));
    assert_eq!(stream.local_addr().ip(), addr("10.128.0.1:0").ip());
    assert_eq!(world.a.connections(), 1);
    stream.write_all(b"question").await.expect("write");
    AsyncWriteExt::shutdown(&mut stream).await.expect("half-close");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert_eq!(answer, "answer to question");
    serve.await.expect("join");
    drop(stream);
    assert_eq!(world.a.connections(), 0);
}

#[tokio::test]
async fn a_cut_on_either_side_is_a_cut_on_the_other() {
    let world = world();
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    world.routes.set("93.184.216.34:80", Route::Real(server.local_addr().expect("bound")));
    let mut guest = world.a.connect_tcp(addr("93.184.216.34:80"), None).await.expect("connect");
    let (real, _) = server.accept().await.expect("accept");
    real.set_zero_linger().expect("linger");
    drop(real);
    let cut = guest.read(&mut [0; 8]).await.expect_err("cut");
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset);

    let _guest = world.a.connect_tcp(addr("93.184.216.34:80"), None).await.expect("connect");
    let (mut real, _) = server.accept().await.expect("accept");
    world.fabric.remove(&world.a);
    let cut = real.read(&mut [0; 8]).await.expect_err("cut");
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn nobody_there_is_refused() {
    let world = world();
    let nobody = ([127, 0, 0, 1], free_port()).into();
    world.routes.set("93.184.216.34:80", Route::Real(nobody));
    let refused = world.a.connect_tcp(addr("93.184.216.34:80"), None).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(world.a.connections(), 0);
}

#[tokio::test]
async fn a_real_datagram_server_answers_under_the_address_that_was_asked() {
    let world = world();
    let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    world.routes.set("9.9.9.9:53", Route::Real(server.local_addr().expect("bound")));
    let socket = world.a.bind_udp(addr("0.0.0.0:0")).expect("bind");
    socket.send(addr("9.9.9.9:53"), Bytes::from_static(b"question")).expect("send");
    let mut buffer = [0; 64];
    let (length, from) = server.recv_from(&mut buffer).await.expect("receive");
    assert_eq!(&buffer[..length], b"question");
    server.send_to(b"answer", from).await.expect("send");
    std::future::poll_fn(|context| socket.poll_readable(context)).await;
    let datagram = socket.try_recv().expect("lives").expect("a datagram");
    assert_eq!((&datagram.data[..], datagram.source), (&b"answer"[..], addr("9.9.9.9:53")));
}

/// A port of the machine that is free, and given out neither by the machine itself nor twice by this process.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 4000 + (std::process::id() % 600) as u16 * 10;
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed) % 100);
    let is_free = |port: &u16| {
        let any = (std::net::Ipv4Addr::UNSPECIFIED, *port);
        std::net::TcpListener::bind(any).is_ok() && std::net::UdpSocket::bind(any).is_ok()
    };
    ports.by_ref().take(100).find(is_free).expect("a free port")
}

#[tokio::test]
async fn what_listens_with_the_machines_addresses_is_reached_at_real_sockets() {
    let world = world();
    let spec = NetNsSpec {
        is_of_machine: true,
        ..NetNsSpec::new(NsTag::new("m", "machine"), vec![addr("192.0.2.1:0").ip()])
    };
    let machine = world.fabric.add(spec).expect("add");
    let port = free_port();
    let any = (std::net::Ipv4Addr::UNSPECIFIED, port).into();
    let guard = machine.bind_tcp(any).expect("bind");
    let real = ("127.0.0.1", port);
    let early = tokio::net::TcpStream::connect(real).await.expect_err("nobody listens yet");
    assert_eq!(early.kind(), ErrorKind::ConnectionRefused);
    let listener = guard.listen(4, None).expect("listen");
    let mut client = tokio::net::TcpStream::connect(real).await.expect("connect");
    let mut served = listener.accept().await.expect("accept");
    assert_eq!(served.peer_addr(), client.local_addr().expect("connected"));
    client.write_all(b"hello").await.expect("write");
    let mut got = [0; 5];
    served.read_exact(&mut got).await.expect("read");
    assert_eq!(&got, b"hello");
    // Another pod reaches it without a real socket.
    let near = world.a.connect_tcp(([192, 0, 2, 1], port).into(), None).await.expect("connect");
    drop((near, listener.accept().await.expect("accept")));
    drop(listener);
    while tokio::net::TcpStream::connect(real).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_machines_own_ports_and_loopback_stay_its_own() {
    let world = world();
    let spec = NetNsSpec {
        is_of_machine: true,
        ..NetNsSpec::new(NsTag::new("m", "machine"), vec![addr("192.0.2.1:0").ip()])
    };
    let machine = world.fabric.add(spec).expect("add");
    let taken = std::net::TcpListener::bind("0.0.0.0:0").expect("bind");
    let any = (std::net::Ipv4Addr::UNSPECIFIED, taken.local_addr().expect("bound").port()).into();
    let refused = machine.bind_tcp(any).expect("bind").listen(4, None).expect_err("taken");
    assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    let taken = std::net::UdpSocket::bind("0.0.0.0:0").expect("bind");
    let any = (std::net::Ipv4Addr::UNSPECIFIED, taken.local_addr().expect("bound").port()).into();
    assert_eq!(machine.bind_udp(any).expect_err("taken").kind(), ErrorKind::AddrInUse);
    let port = free_port();
    let loopback = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let _listener = machine.bind_tcp(loopback).expect("bind").listen(4, None).expect("listen");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    let own = machine.connect_tcp(loopback, None).await.expect("its own loopback");
    assert_eq!(own.peer_addr(), loopback);
}

#[tokio::test]
async fn datagrams_reach_the_machines_namespace_and_are_answered_from_its_port() {
    let world = world();
    let spec = NetNsSpec {
        is_of_machine: true,
        ..NetNsSpec::new(NsTag::new("m", "machine"), vec![addr("192.0.2.1:0").ip()])
    };
    let machine = world.fabric.add(spec).expect("add");
    let port = free_port();
    let any = (std::net::Ipv4Addr::UNSPECIFIED, port).into();
    let server = machine.bind_udp(any).expect("bind");
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    client.connect(("127.0.0.1", port)).await.expect("connect");
    client.send(b"question").await.expect("send");
    std::future::poll_fn(|context| server.poll_readable(context)).await;
    let question = server.try_recv().expect("lives").expect("a datagram");
    assert_eq!(&*question.data, b"question");
    server.send(question.source, Bytes::from_static(b"answer")).expect("send");
    let mut answer = [0; 6];
    client.recv(&mut answer).await.expect("receive");
    assert_eq!(&answer, b"answer");
}
