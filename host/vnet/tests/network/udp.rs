//! Datagrams between namespaces, through Services, and from outside.

use crate::world::{addr, noop, world};
use bytes::Bytes;
use coracle_vnet::{DATAGRAM_BYTES_MAX, DatagramSink, Protocol, Route, UdpSocket};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

fn send(socket: &UdpSocket, to: &str, data: &'static str) -> Result<(), ErrorKind> {
    socket.send(addr(to), Bytes::from_static(data.as_bytes())).map_err(|error| error.kind())
}

/// The content of the next datagram and where it says it comes from.
fn receive(socket: &UdpSocket) -> Option<(String, String)> {
    let datagram = socket.try_recv().expect("the namespace lives")?;
    let text = String::from_utf8(datagram.data.to_vec()).expect("text");
    Some((text, datagram.source.to_string()))
}

fn got(text: &str, from: &str) -> Option<(String, String)> {
    Some((text.to_owned(), from.to_owned()))
}

#[test]
fn datagrams_arrive_with_their_source() {
    let world = world();
    let server = world.b.bind_udp(addr("0.0.0.0:53")).expect("bind");
    let client = world.a.bind_udp(addr("0.0.0.0:4000")).expect("bind");
    assert!(server.poll_readable(&mut noop()).is_pending());
    send(&client, "10.128.0.2:53", "question").expect("send");
    assert!(server.poll_readable(&mut noop()).is_ready());
    assert_eq!(receive(&server), got("question", "10.128.0.1:4000"));
    send(&server, "10.128.0.1:4000", "answer").expect("send");
    assert_eq!(receive(&client), got("answer", "10.128.0.2:53"));
    assert_eq!(receive(&client), None);
    send(&client, "10.128.0.2:54", "nobody").expect("lost without a word");
    send(&client, "127.0.0.1:4000", "myself").expect("send");
    assert_eq!(receive(&client), got("myself", "127.0.0.1:4000"));
}

#[test]
fn answers_come_from_the_service_address() {
    let world = world();
    world.routes.set("10.96.0.10:53", Route::Pod(addr("10.128.0.2:5353")));
    let server = world.b.bind_udp(addr("0.0.0.0:5353")).expect("bind");
    let client = world.a.bind_udp(addr("0.0.0.0:0")).expect("bind");
    for _ in 0..3 {
        send(&client, "10.96.0.10:53", "question").expect("send");
        let (_, source) = receive(&server).expect("it arrived");
        server.send(addr(&source), Bytes::from_static(b"answer")).expect("send");
        assert_eq!(receive(&client), got("answer", "10.96.0.10:53"));
    }
    let asked = world.routes.asked.lock().expect("lock");
    assert_eq!(asked.len(), 1, "the flow kept its backend, and answers need no route");
    assert_eq!(asked[0].protocol, Protocol::Udp);
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let world = world();
    world.routes.set("10.96.0.10:53", Route::Pod(addr("10.128.0.1:5353")));
    let server = world.a.bind_udp(addr("0.0.0.0:5353")).expect("bind");
    let client = world.a.bind_udp(addr("0.0.0.0:4000")).expect("bind");
    send(&client, "10.96.0.10:53", "question").expect("send");
    assert_eq!(receive(&server), got("question", "10.128.0.1:4000"));
    send(&server, "10.128.0.1:4000", "answer").expect("send");
    assert_eq!(receive(&client), got("answer", "10.96.0.10:53"));
}

#[test]
fn a_flow_moves_when_its_backend_goes_or_routes_change() {
    let world = world();
    let service = "10.96.0.10:53";
    world.routes.set(service, Route::Pod(addr("10.128.0.2:53")));
    let client = world.a.bind_udp(addr("0.0.0.0:4000")).expect("bind");
    let own = world.a.bind_udp(addr("0.0.0.0:53")).expect("bind");
    let server = world.b.bind_udp(addr("0.0.0.0:53")).expect("bind");
    send(&client, service, "one").expect("send");
    world.routes.set(service, Route::Pod(addr("10.128.0.1:53")));
    send(&client, service, "two").expect("send");
    assert!(receive(&server).is_some() && receive(&server).is_some(), "it kept its backend");
    world.fabric.forget_flows();
    send(&client, service, "three").expect("send");
    assert_eq!(receive(&own), got("three", "10.128.0.1:4000"));

    world.routes.set("10.96.0.11:53", Route::Pod(addr("10.128.0.2:53")));
    send(&client, "10.96.0.11:53", "four").expect("send");
    world.fabric.remove(&world.b);
    assert_eq!(send(&client, "10.96.0.11:53", "five"), Err(ErrorKind::HostUnreachable));
    world.routes.set("10.96.0.11:53", Route::Pod(addr("10.128.0.1:53")));
    send(&client, "10.96.0.11:53", "six").expect("send");
    assert_eq!(receive(&own), got("six", "10.128.0.1:4000"));
}

#[test]
fn refusals_and_bad_addresses() {
    let world = world();
    world.routes.set("8.8.8.8:53", Route::Refused("no egress".to_owned()));
    let socket = world.a.bind_udp(addr("0.0.0.0:0")).expect("bind");
    assert_eq!(send(&socket, "8.8.8.8:53", "x"), Err(ErrorKind::ConnectionRefused));
    assert_eq!(send(&socket, "0.0.0.0:53", "x"), Err(ErrorKind::InvalidInput));
    assert_eq!(send(&socket, "10.128.0.2:0", "x"), Err(ErrorKind::InvalidInput));
    let large = Bytes::from(vec![0; DATAGRAM_BYTES_MAX + 1]);
    assert!(socket.send(addr("10.128.0.2:53"), large).is_err());
    let loopback = world.a.bind_udp(addr("127.0.0.1:0")).expect("bind");
    assert_eq!(send(&loopback, "10.128.0.2:53", "x"), Err(ErrorKind::NetworkUnreachable));
}

#[test]
fn a_full_queue_drops_what_follows() {
    let world = world();
    let server = world.b.bind_udp(addr("0.0.0.0:53")).expect("bind");
    let client = world.a.bind_udp(addr("0.0.0.0:0")).expect("bind");
    for _ in 0..20 {
        let large = Bytes::from(vec![1; DATAGRAM_BYTES_MAX]);
        client.send(addr("10.128.0.2:53"), large).expect("send");
    }
    let received = std::iter::from_fn(|| server.try_recv().expect("lives")).count();
    assert_eq!(received, 256 * 1024 / DATAGRAM_BYTES_MAX);
    drop(server);
    world.b.bind_udp(addr("0.0.0.0:53")).expect("free again");
}

struct Outside(Mutex<Vec<Bytes>>);

impl DatagramSink for Outside {
    fn send(&self, data: Bytes) -> bool {
        self.0.lock().expect("lock").push(data);
        true
    }
}

#[test]
fn datagrams_from_outside_are_answered_outside() {
    let world = world();
    let server = world.b.bind_udp(addr("0.0.0.0:53")).expect("bind");
    let outside = Arc::new(Outside(Mutex::default()));
    let question = Bytes::from_static(b"question");
    let source = addr("203.0.113.9:40000");
    world
        .fabric
        .deliver_datagram(addr("10.128.0.2:53"), source, question, Some(outside.clone()))
        .expect("deliver");
    assert_eq!(receive(&server), got("question", "203.0.113.9:40000"));
    send(&server, "203.0.113.9:40000", "answer").expect("send");
    assert_eq!(*outside.0.lock().expect("lock"), [Bytes::from_static(b"answer")]);
}

/// A pod has one family, its clients outside have both.
#[test]
fn a_client_of_the_other_family_is_heard_and_answered() {
    let world = world();
    let server = world.b.bind_udp(addr("0.0.0.0:53")).expect("bind");
    let outside = Arc::new(Outside(Mutex::default()));
    let question = Bytes::from_static(b"question");
    let source = addr("[2001:db8::9]:40000");
    let pod = addr("10.128.0.2:53");
    world.fabric.deliver_datagram(pod, source, question, Some(outside.clone())).expect("deliver");
    let heard = server.try_recv().expect("receive").expect("a datagram");
    assert!(heard.source.is_ipv4() && heard.source.port() == 40_000, "{heard:?}");
    server.send(heard.source, Bytes::from_static(b"answer")).expect("send");
    assert_eq!(*outside.0.lock().expect("lock"), [Bytes::from_static(b"answer")]);
}
