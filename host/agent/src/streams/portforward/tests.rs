//! Clients of port-forward, over SPDY, SPDY inside a WebSocket, and numbered channels.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::codec::Framed;

use super::{Target, ports, serve};
use crate::pods::plan::PodKey;
use crate::runtime::fake::FakeRuntime;
use crate::streams::handshake::Speech;
use crate::streams::spdy::{Codec, Frame, Headers};

fn target() -> Target {
    let runtime = FakeRuntime::default();
    runtime.answer(80, Some("hello"));
    let key = PodKey { namespace: "default".into(), name: "web".into(), uid: "u1".into() };
    let ips = vec!["10.128.0.5".parse::<IpAddr>().unwrap()];
    Target { key, ips, runtime: Arc::new(runtime) }
}

/// Serves one client; the client's end comes back.
fn connect(speech: Speech, ports: &'static [u16]) -> DuplexStream {
    let (near, far) = duplex(1 << 16);
    tokio::spawn(async move { serve(far, speech, ports, &target()).await });
    near
}

fn open(stream: u32, kind: &str, port: u16, id: u32, fin: bool) -> Frame {
    let pairs = [("streamtype", kind), ("port", &port.to_string()), ("requestid", &id.to_string())];
    let headers = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Frame::SynStream { stream, headers: Headers(headers.into()), fin }
}

fn data(stream: u32, text: &'static str, fin: bool) -> Frame {
    Frame::Data { stream, bytes: Bytes::from_static(text.as_bytes()), fin }
}

/// What came on each stream of a session, as text, until as many streams have ended as are asked.
async fn read(framed: &mut Framed<DuplexStream, Codec>, mut ends: usize) -> Vec<(u32, String)> {
    let mut streams: Vec<(u32, String)> = Vec::new();
    while ends > 0 {
        let Frame::Data { stream, bytes, fin } = framed.next().await.unwrap().unwrap() else {
            continue;
        };
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        match streams.iter_mut().find(|(known, _)| *known == stream) {
            Some((_, all)) => all.push_str(&text),
            None => streams.push((stream, text)),
        }
        ends -= usize::from(fin);
    }
    streams.sort();
    streams
}

async fn forwards_and_refuses(framed: &mut Framed<DuplexStream, Codec>) {
    for frame in [
        open(1, "error", 80, 0, true),
        open(3, "data", 80, 0, false),
        data(3, "GET", false),
        open(5, "error", 81, 1, true),
        open(7, "data", 81, 1, false),
        Frame::Ping { id: 9 },
    ] {
        framed.send(frame).await.unwrap();
    }
    let mut streams = read(framed, 3).await;
    let refused = "error forwarding port 81 to pod web, uid u1: failed to connect to localhost:81 inside the pod: connect: connection refused: nothing in the pod listens on port 81";
    // The first connection's error stream ends when the client has ended its half as well.
    framed.send(data(3, "", true)).await.unwrap();
    streams.extend(read(framed, 1).await);
    let expected = [(3, "hello"), (5, refused), (7, ""), (1, "")];
    assert_eq!(streams, expected.map(|(stream, text)| (stream, text.to_owned())));
}

#[tokio::test]
async fn spdy_forwards_many_connections_and_says_what_failed() {
    let client = connect(Speech::Spdy("portforward.k8s.io"), &[]);
    forwards_and_refuses(&mut Framed::new(client, Codec::default())).await;
}

#[tokio::test]
async fn spdy_inside_a_websocket_is_the_same() {
    let client = connect(Speech::WebSocket("SPDY/3.1+portforward.k8s.io"), &[]);
    let socket = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let (near, far) = duplex(1 << 16);
    let (mut sink, mut source) = socket.split();
    let (mut from, mut to) = tokio::io::split(far);
    let pump = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut buffer = vec![0; 7];
        loop {
            tokio::select! {
                // Borders of messages mean nothing: seven bytes a message.
                n = from.read(&mut buffer) => match n.unwrap() {
                    0 => return sink.send(Message::Close(None)).await.unwrap(),
                    n => {
                        let piece = Bytes::copy_from_slice(&buffer[..n]);
                        sink.send(Message::Binary(piece)).await.unwrap();
                    }
                },
                Some(Ok(Message::Binary(bytes))) = source.next() => {
                    to.write_all(&bytes).await.unwrap();
                }
            }
        }
    });
    let mut framed = Framed::new(near, Codec::default());
    forwards_and_refuses(&mut framed).await;
    drop(framed);
    pump.await.unwrap();
}

#[tokio::test]
async fn numbered_channels_begin_with_their_port() {
    let client = connect(Speech::WebSocket("v4.channel.k8s.io"), &[80, 81]);
    let mut socket = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    socket.send(Message::Binary(Bytes::from_static(b"\x00GET"))).await.unwrap();
    let mut channels = vec![Vec::new(); 4];
    while channels[0].len() < 7 || channels[3].len() < 3 {
        let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() else { continue };
        channels[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
    }
    assert_eq!(channels[0], b"\x50\x00hello");
    assert_eq!(channels[1], b"\x50\x00");
    assert_eq!(channels[2], b"\x51\x00");
    assert!(channels[3].starts_with(b"\x51\x00error forwarding port 81"));
    socket.close(None).await.unwrap();
}

#[test]
fn ports_are_numbers_and_not_too_many() {
    let check = |query: &str| ports(query).map_err(|error| error.to_string());
    assert_eq!(check("port=80,81&port=82"), Ok(vec![80, 81, 82]));
    assert_eq!(check("ports=80"), Ok(vec![80]));
    assert_eq!(check("port=x"), Err("invalid port \"x\"".into()));
    assert_eq!(check("port=0"), Err("invalid port \"0\"".into()));
    assert_eq!(check("a=b"), Err("query parameter \"port\" is required".into()));
    let many = vec!["1"; 33].join(",");
    assert!(check(&format!("port={many}")).unwrap_err().starts_with("at most 32 ports"));
    assert_eq!(check(&format!("port={}", &many[2..])).map(|ports| ports.len()), Ok(32));
}
