//! Out of the fabric and into real sockets, when the router says so.

use crate::world::{addr, world};
use bytes::Bytes;
use coracle_vnet::Route;
use std::io::ErrorKind;
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
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    world.routes.set("93.184.216.34:80", Route::Real(server.local_addr().expect("bound")));
    drop(server);
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
