//! TCP between namespaces: who reaches whom, which addresses show, and how connections end.

use crate::world::{World, addr, noop, now, world};
use bytes::Bytes;
use coracle_vnet::{Accept, Listener, NetNs, PIPE_BYTES_MAX, Reached, Route, Scope, VStream};
use std::any::Any;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

fn listen(ns: &Arc<NetNs>, address: &str) -> Listener {
    ns.bind_tcp(addr(address)).expect("bind").listen(16, None).expect("listen")
}

fn accept(listener: &Listener) -> VStream {
    match listener.poll_accept(&mut noop()) {
        Poll::Ready(stream) => stream.expect("a connection"),
        Poll::Pending => panic!("nobody connected"),
    }
}

fn connect(ns: &Arc<NetNs>, to: &str) -> Result<VStream, ErrorKind> {
    now(ns.connect_tcp(addr(to), None)).map_err(|error| error.kind())
}

fn read(stream: &VStream) -> Result<Option<Vec<u8>>, ErrorKind> {
    let data = stream.try_read(1 << 20).map_err(|error| error.kind())?;
    Ok(data.map(|data| data.to_vec()))
}

fn write(stream: &VStream, data: &'static [u8]) -> Result<(), ErrorKind> {
    stream.write(Bytes::from_static(data)).map_err(|error| error.kind())
}

/// Both ends of a connection from `a` to `b`.
fn pair(world: &World) -> (VStream, VStream) {
    let listener = listen(&world.b, "0.0.0.0:80");
    let client = connect(&world.a, "10.128.0.2:80").expect("connect");
    (client, accept(&listener))
}

#[test]
fn who_reaches_a_listener() {
    // (listens in b at, dialled from, dialled at, reached)
    let cases = [
        ("0.0.0.0:80", 'a', "10.128.0.2:80", true),
        ("0.0.0.0:80", 'b', "127.0.0.1:80", true),
        ("0.0.0.0:80", 'b', "10.128.0.2:80", true),
        ("0.0.0.0:80", 'a', "127.0.0.1:80", false),
        ("127.0.0.1:80", 'b', "127.0.0.1:80", true),
        ("127.0.0.1:80", 'b', "127.0.0.2:80", false),
        ("127.0.0.1:80", 'b', "10.128.0.2:80", false),
        ("127.0.0.1:80", 'a', "10.128.0.2:80", false),
        ("10.128.0.2:80", 'a', "10.128.0.2:80", true),
        ("10.128.0.2:80", 'b', "127.0.0.1:80", false),
        ("0.0.0.0:80", 'a', "10.128.0.2:81", false),
        ("0.0.0.0:80", 'a', "[fd00::2]:80", false),
        ("[::]:80", 'a', "[fd00::2]:80", true),
        ("[::]:80", 'b', "[::1]:80", true),
        ("[::]:80", 'b', "127.0.0.1:80", false),
        ("[::1]:80", 'a', "[fd00::2]:80", false),
    ];
    for (at, from, to, reached) in cases {
        let world = world();
        let _listener = listen(&world.b, at);
        let from = if from == 'a' { &world.a } else { &world.b };
        let result = connect(from, to).map(|_| ());
        let expected = if reached { Ok(()) } else { Err(ErrorKind::ConnectionRefused) };
        assert_eq!(result, expected, "{at} dialled at {to}");
    }
}

#[test]
fn ports_collide_within_a_namespace_only() {
    // (bound first, bound next, both fit)
    let cases = [
        ("0.0.0.0:80", "0.0.0.0:80", false),
        ("0.0.0.0:80", "127.0.0.1:80", false),
        ("127.0.0.1:80", "0.0.0.0:80", false),
        ("127.0.0.1:80", "10.128.0.1:80", true),
        ("0.0.0.0:80", "[::]:80", true),
        ("0.0.0.0:80", "0.0.0.0:81", true),
    ];
    for (first, next, fits) in cases {
        let world = world();
        let _first = world.a.bind_tcp(addr(first)).expect("bind");
        assert_eq!(world.a.bind_tcp(addr(next)).is_ok(), fits, "{first} and {next}");
        world.b.bind_tcp(addr("0.0.0.0:80")).expect("the other pod has ports of its own");
        let _udp = world.a.bind_udp(addr(first)).expect("UDP has ports of its own");
    }
    let world = world();
    let foreign = world.a.bind_tcp(addr("10.128.0.2:80")).map(|_| ());
    assert_eq!(foreign.map_err(|error| error.kind()), Err(ErrorKind::AddrNotAvailable));
}

#[test]
fn a_port_is_free_when_its_guard_is_dropped() {
    let world = world();
    let listener = listen(&world.a, "0.0.0.0:80");
    let waiting = connect(&world.a, "127.0.0.1:80").expect("connect");
    drop(listener);
    assert_eq!(read(&waiting), Err(ErrorKind::ConnectionReset));
    assert_eq!(connect(&world.a, "127.0.0.1:80").err(), Some(ErrorKind::ConnectionRefused));
    listen(&world.a, "0.0.0.0:80");
}

#[test]
fn addresses_are_told_truly() {
    let world = world();
    let (client, server) = pair(&world);
    assert_eq!(client.peer_addr(), addr("10.128.0.2:80"));
    assert_eq!(server.local_addr(), addr("10.128.0.2:80"));
    assert_eq!(server.peer_addr(), client.local_addr());
    assert_eq!(client.local_addr().ip(), addr("10.128.0.1:0").ip());
    let listener = listen(&world.a, "127.0.0.1:0");
    let near = now(world.a.connect_tcp(listener.local_addr(), None)).expect("connect");
    assert_eq!(near.local_addr().ip(), addr("127.0.0.1:0").ip());
    let bound = world.a.bind_tcp(addr("0.0.0.0:7000")).expect("bind");
    let near = now(world.a.connect_tcp(listener.local_addr(), Some(bound.local_addr())));
    assert_eq!(near.expect("connect").local_addr(), addr("127.0.0.1:7000"));
}

#[test]
fn the_service_address_is_the_peer() {
    let world = world();
    world.routes.set("10.96.0.7:5432", Route::Pod(addr("10.128.0.2:80")));
    let listener = listen(&world.b, "0.0.0.0:80");
    let client = connect(&world.a, "10.96.0.7:5432").expect("connect");
    let server = accept(&listener);
    assert_eq!(client.peer_addr(), addr("10.96.0.7:5432"));
    assert_eq!(server.local_addr(), addr("10.128.0.2:80"));
    assert_eq!(server.peer_addr(), client.local_addr());
    // A pod reaches itself through its own Service, and sees its own address there.
    let own = connect(&world.b, "10.96.0.7:5432").expect("connect");
    assert_eq!(own.peer_addr(), addr("10.96.0.7:5432"));
    assert_eq!(accept(&listener).peer_addr().ip(), addr("10.128.0.2:0").ip());
    let asked = world.routes.asked.lock().expect("lock");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].from.as_ref().map(|tag| tag.name()), Some("default/a"));
    assert_eq!(asked[0].destination, addr("10.96.0.7:5432"));
}

#[test]
fn refusals_say_why() {
    let world = world();
    let why = "set coracle.dev/egress".to_owned();
    world.routes.set("93.184.216.34:443", Route::Refused(why.clone()));
    let error = now(world.a.connect_tcp(addr("93.184.216.34:443"), None)).expect_err("refused");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::ConnectionRefused, why));
    assert_eq!(connect(&world.a, "10.128.9.9:80").err(), Some(ErrorKind::HostUnreachable));
    assert_eq!(connect(&world.a, "0.0.0.0:80").err(), Some(ErrorKind::InvalidInput));
    assert_eq!(connect(&world.a, "10.128.0.2:0").err(), Some(ErrorKind::InvalidInput));
    assert_eq!(connect(&world.a, "224.0.0.1:80").err(), Some(ErrorKind::NetworkUnreachable));
}

#[test]
fn half_close_lets_the_other_direction_live() {
    let (client, server) = pair(&world());
    write(&client, b"request").expect("write");
    client.shutdown(Shutdown::Write);
    assert_eq!(write(&client, b"more"), Err(ErrorKind::BrokenPipe));
    assert_eq!(read(&server), Ok(Some(b"request".to_vec())));
    assert_eq!(read(&server), Ok(Some(vec![])), "the end");
    write(&server, b"answer").expect("write");
    drop(server);
    assert_eq!(read(&client), Ok(Some(b"answer".to_vec())));
    assert_eq!(read(&client), Ok(Some(vec![])), "the end");
}

/// Remembers that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn one_that_only_ended_its_side_is_not_gone() {
    let is_gone = |stream: &VStream| std::pin::pin!(stream.gone()).poll(&mut noop()).is_ready();
    let (client, server) = pair(&world());
    client.shutdown(Shutdown::Write);
    server.shutdown(Shutdown::Write);
    assert!(!is_gone(&server) && !is_gone(&client));
    let (woken, mut gone) = (Arc::new(Woken::default()), std::pin::pin!(server.gone()));
    let waker = Waker::from(woken.clone());
    assert!(gone.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(client);
    assert!(woken.0.load(Ordering::Acquire));
    assert!(gone.as_mut().poll(&mut noop()).is_ready());

    let (client, server) = pair(&world());
    server.reset();
    assert!(is_gone(&client) && is_gone(&server));
}

#[test]
fn shutting_down_reads_throws_away_what_comes() {
    let (client, server) = pair(&world());
    write(&server, b"unwanted").expect("write");
    client.shutdown(Shutdown::Read);
    assert_eq!(read(&client), Ok(Some(vec![])));
    write(&server, b"unwanted too").expect("the other end does not notice");
    write(&client, b"still sending").expect("write");
    assert_eq!(read(&server), Ok(Some(b"still sending".to_vec())));
}

#[test]
fn closing_tells_the_other_end() {
    let (client, server) = pair(&world());
    drop(server);
    assert_eq!(read(&client), Ok(Some(vec![])));
    assert_eq!(write(&client, b"x"), Err(ErrorKind::BrokenPipe));

    let (client, server) = pair(&world());
    write(&client, b"never read").expect("write");
    write(&server, b"last words").expect("write");
    drop(server);
    assert_eq!(read(&client), Ok(Some(b"last words".to_vec())));
    assert_eq!(read(&client), Err(ErrorKind::ConnectionReset));
    assert_eq!(write(&client, b"x"), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_removed_namespace_cuts_everything() {
    let world = world();
    let listener = listen(&world.b, "0.0.0.0:80");
    let client = connect(&world.a, "10.128.0.2:80").expect("connect");
    let server = accept(&listener);
    let waiting = connect(&world.a, "10.128.0.2:80").expect("connect");
    let udp = world.b.bind_udp(addr("0.0.0.0:53")).expect("bind");
    write(&server, b"lost").expect("write");
    world.fabric.remove(&world.b);
    for stream in [&client, &server, &waiting] {
        assert_eq!(read(stream), Err(ErrorKind::ConnectionReset), "{stream:?}");
        assert_eq!(write(stream, b"x"), Err(ErrorKind::ConnectionReset), "{stream:?}");
    }
    assert!(matches!(listener.poll_accept(&mut noop()), Poll::Ready(Err(_))));
    assert!(udp.try_recv().is_err());
    assert!(world.b.bind_tcp(addr("0.0.0.0:81")).is_err());
    assert_eq!(connect(&world.a, "10.128.0.2:80").err(), Some(ErrorKind::HostUnreachable));
    assert_eq!(world.b.connections(), 0);
    drop((client, waiting));
    assert_eq!(world.a.connections(), 0);
}

#[test]
fn a_full_backlog_and_too_many_connections_are_refused() {
    let world = world();
    let listener = world.b.bind_tcp(addr("0.0.0.0:80")).expect("bind");
    let listener = listener.listen(200, None).expect("listen");
    let clients: Vec<_> = (0..200).map(|_| connect(&world.a, "10.128.0.2:80")).collect();
    assert!(clients.iter().all(Result::is_ok));
    assert_eq!(connect(&world.a, "10.128.0.2:80").err(), Some(ErrorKind::ConnectionRefused));
    accept(&listener);
    assert!(connect(&world.a, "10.128.0.2:80").is_ok());

    let mut spec = coracle_vnet::NetNsSpec::new(
        coracle_vnet::NsTag::new("c", "default/c"),
        vec![addr("10.128.0.3:0").ip()],
    );
    spec.connections_max = 2;
    let small = world.fabric.add(spec).expect("add");
    let _listener = listen(&small, "0.0.0.0:80");
    let both_ends = connect(&small, "127.0.0.1:80").expect("connect");
    assert_eq!(connect(&small, "10.128.0.2:80").err(), Some(ErrorKind::QuotaExceeded));
    let coming: Vec<_> = (0..2).map(|_| connect(&world.a, "10.128.0.3:80")).collect();
    assert!(coming.iter().all(Result::is_ok), "others find room that its own do not");
    assert_eq!(connect(&world.a, "10.128.0.3:80").err(), Some(ErrorKind::ConnectionRefused));
    drop(both_ends);
    assert_eq!(small.connections(), 3, "the server's ends wait in the queue");
}

#[test]
fn ephemeral_ports_avoid_those_that_are_taken() {
    let world = world();
    let _listener = listen(&world.b, "0.0.0.0:80");
    let taken = world.a.bind_tcp(addr("0.0.0.0:32768")).expect("bind");
    let client = connect(&world.a, "10.128.0.2:80").expect("connect");
    assert_ne!(client.local_addr().port(), taken.local_addr().port());
    for _ in 0..29_000 {
        let port = world.a.bind_tcp(addr("0.0.0.0:0")).expect("bind").local_addr().port();
        assert_ne!(port, client.local_addr().port(), "in use by a connection");
        assert_ne!(port, taken.local_addr().port());
    }
}

struct Taken(Mutex<Vec<VStream>>);

impl Accept for Taken {
    fn accept(&self, stream: VStream) {
        self.0.lock().expect("lock").push(stream);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn a_callback_takes_connections_and_a_draining_scope_refuses_them() {
    let world = world();
    let (taken, scope) = (Arc::new(Taken(Mutex::default())), Arc::new(Scope::default()));
    let guard = world.b.bind_tcp(addr("0.0.0.0:80")).expect("bind");
    guard.listen_with(taken.clone(), Some(scope.clone())).expect("listen");
    let client = connect(&world.a, "10.128.0.2:80").expect("connect");
    write(&client, b"hello").expect("write");
    let server = taken.0.lock().expect("lock").pop().expect("taken at once");
    assert_eq!(read(&server), Ok(Some(b"hello".to_vec())));
    assert_eq!((scope.connections(), scope.bytes()), (1, 5));
    let callback = world.b.callback_at(addr("10.128.0.2:80")).expect("a callback");
    assert!(callback.as_any().is::<Taken>());
    scope.drain();
    assert_eq!(connect(&world.a, "10.128.0.2:80").err(), Some(ErrorKind::ConnectionRefused));
    assert!(world.b.callback_at(addr("10.128.0.2:80")).is_none());
    write(&server, b"goodbye").expect("connections live on");
    drop(server);
    assert_eq!((scope.connections(), scope.bytes()), (0, 12));
    drop(guard);
    assert!(!world.b.is_listening(addr("10.128.0.2:80")));
}

/// Whoever can do without a connection is led where the router says at its first word, as a connection is: asked
/// twice, a router that picks by chance would prefer the pods of its own host.
#[test]
fn a_callback_or_a_connection_is_reached_by_one_question() {
    let world = world();
    let taken = Arc::new(Taken(Mutex::default()));
    let guard = world.b.bind_tcp(addr("0.0.0.0:80")).expect("bind");
    guard.listen_with(taken, None).expect("listen");
    let _listener = listen(&world.b, "0.0.0.0:81");
    let service = "10.96.0.7:80";
    let reach = |route: &str| {
        world.routes.set(service, Route::Pod(addr(route)));
        let reached = now(world.a.reach(addr(service)));
        let asked = std::mem::take(&mut *world.routes.asked.lock().expect("lock")).len();
        let what = match reached {
            Ok(Reached::Callback(callback, backend)) => {
                format!("callback {} {backend:?}", callback.as_any().is::<Taken>())
            }
            Ok(Reached::Stream(stream)) => {
                format!("stream to {} {:?}", stream.peer_addr(), stream.backend())
            }
            Err(error) => format!("{:?}", error.kind()),
        };
        (what, asked)
    };
    assert_eq!(reach("10.128.0.2:80"), ("callback true Some(10.128.0.2:80)".to_owned(), 1));
    assert_eq!(reach("10.128.0.2:81"), (format!("stream to {service} Some(10.128.0.2:81)"), 1));
    // Nobody listens there: the router is asked for another one, and has none.
    assert_eq!(reach("10.128.0.2:82"), ("ConnectionRefused".to_owned(), 2));
    let own = now(world.b.reach(addr("127.0.0.1:80")));
    assert!(matches!(own, Ok(Reached::Callback(_, None))), "its own");
    assert!(world.routes.asked.lock().expect("lock").is_empty());
}

#[test]
fn the_host_delivers_from_any_address() {
    let world = world();
    let listener = listen(&world.b, "0.0.0.0:80");
    let outside = addr("203.0.113.9:40000");
    let near = world.fabric.deliver(addr("10.128.0.2:80"), outside).expect("deliver");
    assert_eq!(accept(&listener).peer_addr(), outside);
    assert_eq!(near.peer_addr(), addr("10.128.0.2:80"));
    world.b.deliver(addr("127.0.0.1:80"), outside).expect("port-forward reaches loopback");
    let gone = world.fabric.deliver(addr("10.128.0.9:80"), outside).map(|_| ());
    assert_eq!(gone.map_err(|error| error.kind()), Err(ErrorKind::HostUnreachable));
}

#[test]
fn the_writer_waits_for_the_reader() {
    let (client, server) = pair(&world());
    let mut written = 0;
    while let Poll::Ready(()) = client.poll_writable(&mut noop()) {
        let room = client.room().expect("room").min(10_000);
        client.write(Bytes::from(vec![7; room])).expect("write");
        written += room;
    }
    assert_eq!(written, PIPE_BYTES_MAX);
    assert_eq!(client.room().expect("room"), 0);
    assert!(server.poll_readable(&mut noop()).is_ready());
    let mut seen = 0;
    while let Some(data) = server.try_read(3_000).expect("read") {
        seen += data.len();
    }
    assert_eq!(seen, written);
    assert!(client.poll_writable(&mut noop()).is_ready());
}

#[test]
fn names_resolve_here_or_at_the_resolver() {
    let world = world();
    let check = |name: &str, expected: Option<&[&str]>| {
        let found = now(world.a.resolve(name)).ok();
        let found: Option<Vec<String>> =
            found.map(|ips| ips.iter().map(ToString::to_string).collect());
        let expected = expected.map(|ips| ips.iter().map(|ip| (*ip).to_owned()).collect());
        assert_eq!(found, expected, "{name}");
    };
    check("10.1.2.3", Some(&["10.1.2.3"]));
    check("::1", Some(&["::1"]));
    check("localhost", Some(&["127.0.0.1", "::1"]));
    check("A", Some(&["10.128.0.1", "fd00::1"]));
    check("alias.example.", Some(&["1.2.3.4"]));
    check("db", Some(&["10.96.0.7"]));
    check("nosuch", None);
    check("", None);
    check(&"x".repeat(300), None);
}

#[test]
fn an_address_belongs_to_one_namespace() {
    let world = world();
    let tag = coracle_vnet::NsTag::new("c", "default/c");
    let spec = coracle_vnet::NetNsSpec::new(tag, vec![addr("10.128.0.1:0").ip()]);
    let error = world.fabric.add(spec.clone()).expect_err("taken");
    assert_eq!(error.to_string(), "address 10.128.0.1 belongs to default/a");
    world.fabric.remove(&world.a);
    world.fabric.add(spec).expect("free again");
}

#[test]
fn all_connections_of_a_namespace_share_a_budget() {
    let world = world();
    let tag = coracle_vnet::NsTag::new("c", "default/c");
    let mut spec = coracle_vnet::NetNsSpec::new(tag, vec![addr("10.128.0.3:0").ip()]);
    spec.buffer_bytes_max = 300_000;
    let small = world.fabric.add(spec).expect("add");
    let listener = listen(&world.b, "0.0.0.0:80");
    let connect = || (connect(&small, "10.128.0.2:80").expect("connect"), accept(&listener));
    let fill = |stream: &VStream| {
        let mut bytes = 0;
        while let room @ 1.. = stream.room().expect("open") {
            stream.write(Bytes::from(vec![0; room])).expect("open");
            bytes += room;
        }
        bytes
    };
    let pairs = [connect(), connect(), connect()];
    let filled: Vec<usize> = pairs.iter().map(|(near, _)| fill(near)).collect();
    assert_eq!(filled, [PIPE_BYTES_MAX, 300_000 - PIPE_BYTES_MAX, 16 * 1024]);
    assert_eq!(small.buffered_bytes(), 300_000 + 16 * 1024);
    assert_eq!(fill(&pairs[0].1), PIPE_BYTES_MAX, "the other end pays for itself");
    assert!(pairs[2].0.poll_writable(&mut noop()).is_pending());
    while read(&pairs[2].1).expect("open").is_some() {}
    assert!(pairs[2].0.poll_writable(&mut noop()).is_ready(), "none starves");
    while read(&pairs[0].1).expect("open").is_some() {}
    assert_eq!(fill(&pairs[2].0), PIPE_BYTES_MAX);
    drop(pairs);
    assert_eq!((small.buffered_bytes(), world.b.buffered_bytes()), (0, 0));
    // From outside the fabric, the receiver pays.
    let near = world.fabric.deliver(addr("10.128.0.2:80"), addr("203.0.113.9:4000"));
    near.expect("deliver").write(Bytes::from_static(b"12345")).expect("open");
    assert_eq!(world.b.buffered_bytes(), 5);
}

#[test]
fn a_refused_connection_waits_for_a_backend_that_is_being_started() {
    let world = world();
    let (started, start) = futures::channel::oneshot::channel::<()>();
    let wait = futures::FutureExt::boxed(async move {
        let _ = start.await;
    });
    *world.routes.awaited.lock().expect("lock") = Some(wait);
    world.routes.set("10.96.0.7:80", Route::Refused("no endpoints".to_owned()));
    let mut connecting = world.a.connect_tcp(addr("10.96.0.7:80"), None);
    assert!(connecting.as_mut().poll(&mut noop()).is_pending());
    let listener = listen(&world.b, "0.0.0.0:80");
    world.routes.set("10.96.0.7:80", Route::Pod(addr("10.128.0.2:80")));
    started.send(()).expect("somebody waits");
    let client = now(connecting).expect("connected");
    assert_eq!(client.peer_addr(), addr("10.96.0.7:80"));
    let _server = accept(&listener);
    // Without anything to wait for it is refused at once.
    world.routes.set("10.96.0.7:80", Route::Refused("no endpoints".to_owned()));
    assert_eq!(connect(&world.a, "10.96.0.7:80").err(), Some(ErrorKind::ConnectionRefused));
}

#[test]
fn a_backend_that_does_not_take_a_connection_is_passed_over() {
    let world = world();
    // One that is gone, one of which nobody listens, one that listens.
    let (gone, deaf, open) = ("10.128.0.77:80", "10.128.0.2:81", "10.128.0.2:80");
    world.routes.set("10.96.0.7:80", Route::Pod(addr(gone)));
    *world.routes.others.lock().expect("lock") = vec![addr(gone), addr(deaf), addr(open)];
    assert_eq!(connect(&world.a, "10.96.0.7:80").err(), Some(ErrorKind::ConnectionRefused));
    let listener = listen(&world.b, "0.0.0.0:80");
    let client = connect(&world.a, "10.96.0.7:80").expect("connected");
    assert_eq!(client.peer_addr(), addr("10.96.0.7:80"));
    let _server = accept(&listener);
    // An address that is a pod's own is that pod's alone.
    *world.routes.others.lock().expect("lock") = vec![addr(open)];
    assert_eq!(connect(&world.a, deaf).err(), Some(ErrorKind::ConnectionRefused));
}
