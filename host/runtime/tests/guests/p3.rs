//! WASI 0.3: commands and http services, over the same network and files as those of 0.2.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use coracle_runtime::mounts::{Mount, MountTable, RootSpec};
use coracle_runtime::{Container, ExitReason, Isolation};
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::class;
use crate::world::{Pod, fabric, until};

/// Runs commands one after the other in one guest, and gives what each said.
async fn said(pod: &Pod, commands: &[&str]) -> Vec<String> {
    said_by(pod, "p3_probe", commands).await
}

async fn said_by(pod: &Pod, guest: &str, commands: &[&str]) -> Vec<String> {
    let mut spec = pod.spec(guest, commands).await;
    spec.name = "probe".to_owned();
    let log = pod.folder.path().join("probe/0.log");
    spec.log = Some(coracle_runtime::LogSpec::new(log.clone()));
    let exit = pod.sandbox.start(spec).await.unwrap().wait().await;
    assert_eq!(exit.code, 0, "{exit:?}");
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().filter_map(|line| Some(line.split_once(" => ")?.1.to_owned())).collect()
}

async fn serve(pod: &Pod, guest: &str, command: &str, at: SocketAddr) -> Container {
    let container = pod.start(guest, &[command]).await;
    until(|| pod.netns.is_listening(at)).await;
    container
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_as_it_says() {
    let pod = Pod::new();
    let check = async |command: &str, code: i32, reason: ExitReason| {
        let exit = pod.start("p3_probe", &[command]).await.wait().await;
        assert_eq!((exit.code, exit.reason), (code, reason), "{command}: {exit:?}");
    };
    check("exit 7", 7, ExitReason::Error).await;
    check("exit 0", 0, ExitReason::Completed).await;
    check("fail", 134, ExitReason::Error).await;
    let spinning = pod.start("p3_probe", &["spin"]).await;
    until(|| spinning.usage().cpu_usec > 0).await;
    spinning.kill();
    assert_eq!(spinning.wait().await.code, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_environment_and_output_are_the_containers() {
    let pod = Pod::new();
    let mut spec = pod.spec("p3_probe", &["env COLOUR", "stdin"]).await;
    spec.env = vec![("COLOUR".to_owned(), "teal".to_owned())];
    let exit = pod.sandbox.start(spec).await.unwrap().wait().await;
    assert_eq!(exit.code, 0, "{exit:?}");
    assert_eq!(pod.log(), "stdout F env COLOUR => teal\nstdout F stdin => \n");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_meet_over_tcp() {
    for (server, client) in
        [("p3_probe", "p3_probe"), ("net-probe", "p3_probe"), ("p3_probe", "net-probe")]
    {
        let (one, two) = (Pod::new(), Pod::new());
        let container = serve(&two, server, "serve 0.0.0.0:80 1", two.address(80)).await;
        let (to, from) = (two.address(80), one.address(0).ip());
        let answers = said_by(&one, client, &[&format!("ask {to} hello")]).await;
        assert_eq!(answers, [format!("{to} {from} hello from {to}")], "{client} to {server}");
        assert_eq!(container.wait().await.code, 0);
        // Another pod, for a log of its own.
        let one = Pod::new();
        let (to, from) = (two.address6(80), one.address6(0).ip());
        let container = serve(&two, server, "serve [::]:80 1", to).await;
        let answers = said_by(&one, client, &[&format!("ask {to} hello")]).await;
        assert_eq!(answers, [format!("{to} {from} hello from {to}")], "{client} to {server}");
        assert_eq!(container.wait().await.code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_of_a_connection_flow_at_once() {
    let pod = Pod::new();
    let loopback = "[::1]:80".parse().unwrap();
    let server = serve(&pod, "p3_probe", "echo [::1]:80", loopback).await;
    let answers = said(&pod, &["load [::1]:80 4"]).await;
    assert_eq!(answers, [format!("{} bytes, same true", 4 << 20)]);
    assert_eq!(server.wait().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_wrong_time_have_their_codes() {
    // Ports are taken from the host's side here, which a worker's guest does not see.
    if class::HAS_CONNECTIONS {
        return;
    }
    let pod = Pod::new();
    let (own, number) = (pod.address(0).ip(), pod.number);
    let commands = [
        "states 127.0.0.1:80",
        "options",
        "listen-anywhere",
        "ask 127.0.0.1:9 text",
        "ask 10.128.255.255:80 text",
        "bind 10.9.9.9:80",
        "bind 0.0.0.0:80",
        &format!("bind {own}:81"),
        "resolve nobody",
        &format!("resolve pod-{number}"),
    ];
    let _listener = pod.netns.bind_tcp(pod.address(80)).unwrap();
    let loopback = pod.netns.bind_tcp(([127, 0, 0, 1], 80).into()).unwrap();
    let _queue = loopback.listen(8, None).unwrap();
    let answers = said(&pod, &commands).await;
    let expected = [
        "Err(ErrorCode::InvalidState); 0 Err(ErrorCode::InvalidState); \
         Err(ErrorCode::InvalidState); Err(ErrorCode::InvalidState)",
        "ErrorCode::InvalidArgument 12 true 5000000000 1000000000 3 65536 131072 \
         IpAddressFamily::Ipv6",
        "true 0.0.0.0 true",
        "ErrorCode::ConnectionRefused",
        "ErrorCode::RemoteUnreachable",
        "ErrorCode::AddressNotBindable",
        "ErrorCode::AddressInUse",
        &format!("{own}:81"),
        "ErrorCode::NameUnresolvable",
        &own.to_string(),
    ];
    assert_eq!(answers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_are_answered() {
    for server in ["p3_probe", "net-probe"] {
        let (one, two) = (Pod::new(), Pod::new());
        let container = two.start(server, &["udp-serve 0.0.0.0:53 2"]).await;
        let to = two.address(53);
        until(|| two.netns.is_receiving(to)).await;
        let answers = said(&one, &[&format!("udp-ask {to} hello")]).await;
        let expected = format!(
            "ErrorCode::InvalidState, hello from {to}, hello from {to}, ErrorCode::InvalidArgument"
        );
        assert_eq!(answers, [expected]);
        assert_eq!(container.wait().await.code, 0);
        let (one, to) = (Pod::new(), two.address6(53));
        let container = two.start(server, &["udp-serve [::]:53 2"]).await;
        until(|| two.netns.is_receiving(to)).await;
        let answers = said_by(&one, "net-probe", &[&format!("udp-ask {to} hello")]).await;
        assert_eq!(answers, [format!("hello from {to}, connected hello")]);
        assert_eq!(container.wait().await.code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_guest_does_two_things_at_once() {
    let pod = Pod::new();
    let answers = said(&pod, &["serve 127.0.0.1:80 1 & ask 127.0.0.1:80 self"]).await;
    assert_eq!(answers, ["ok, 127.0.0.1:80 127.0.0.1 self from 127.0.0.1:80"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_those_of_the_mount_table() {
    let disk = tempfile::tempdir().unwrap();
    let path = |name: &str| disk.path().join(name);
    for dir in ["image/app", "data", "config", "scratch"] {
        std::fs::create_dir_all(path(dir)).unwrap();
    }
    std::fs::write(path("image/app/conf"), "default").unwrap();
    std::fs::write(path("config/key"), "value").unwrap();
    std::fs::write(path("secret"), "secret").unwrap();
    let root = RootSpec {
        image: Some(path("image")),
        files: Vec::new(),
        dirs: vec!["/tmp".to_owned()],
        scratch: Some(path("scratch")),
        quota: None,
    };
    let mounts = MountTable::builder()
        .root(root)
        .mount("/data", Mount::host(path("data")))
        .and_then(|table| table.mount("/data/config", Mount::host(path("config")).read_only()))
        .and_then(|table| table.build())
        .unwrap();
    let script = "roots => 1 /
        list . => app/ data/ dev/ tmp/
        read app/conf 0 => default
        read app/conf 4 => ult
        write app/conf changed => 7
        read app/conf 0 => changed
        write data/new text => 4
        append data/new -more => 9
        read /data/../data/new 0 => text-more
        list data => config/ new
        mkdir data/sub => ok
        mv data/new data/sub/moved => ok
        ln sub/moved data/link => ok
        readlink data/link => sub/moved
        read data/link 0 => text-more
        same data/link data/sub/moved => true true
        same data/link app/conf => false false
        ln ../../secret data/out => ok
        read data/out 0 => ErrorCode::NoEntry
        read ../../secret 0 => ErrorCode::NoEntry
        write data/config/key no => ErrorCode::ReadOnly
        write-read-only data/link => ErrorCode::NotPermitted
        read-dir-as-file data => 0 Err(ErrorCode::IsDirectory)
        mv data/sub/moved tmp/moved => ErrorCode::CrossDevice
        rm data/sub/moved => ok
        rmdir data/sub => ok
        rmdir data/config => ErrorCode::Busy
        list data => config/ link out";
    let lines: Vec<&str> = script.lines().map(str::trim).collect();
    let commands: Vec<String> =
        lines.iter().map(|line| format!("file {}", line.split_once(" => ").unwrap().0)).collect();
    let pod = Pod::new();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let mut spec = pod.spec("p3_probe", &commands).await;
    spec.mounts = mounts;
    let exit = pod.sandbox.start(spec).await.unwrap().wait().await;
    assert_eq!(exit.code, 0, "{exit:?}");
    let expected: String = lines.iter().map(|line| format!("stdout F file {line}\n")).collect();
    assert_eq!(pod.log(), expected);
    assert_eq!(std::fs::read_to_string(path("image/app/conf")).unwrap(), "default");
}

async fn start(pod: &Pod, isolation: Isolation) -> Container {
    let mut spec = pod.spec("p3_http", &[]).await;
    spec.isolation = isolation;
    spec.http.request_timeout = Duration::from_secs(5);
    pod.sandbox.start(spec).await.unwrap()
}

/// Asks a pod's port 80 over HTTP/2 and gives the status, text and trailers.
async fn ask(pod: &Pod, path: &str, body: Bytes) -> (u16, String, http::HeaderMap) {
    let stream = fabric().deliver(pod.address(80), ([192, 0, 2, 1], 5).into()).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let trailers = http::HeaderMap::from_iter([("x-end".parse().unwrap(), "1".parse().unwrap())]);
    let frames = [http_body::Frame::data(body), http_body::Frame::trailers(trailers)];
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    let body = StreamBody::new(futures::stream::iter(frames));
    let request = http::Request::post(format!("http://test{path}")).body(body).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    match response.into_body().collect().await {
        Ok(body) => {
            let trailers = body.trailers().cloned().unwrap_or_default();
            (status, String::from_utf8_lossy(&body.to_bytes()).into_owned(), trailers)
        }
        Err(error) => (status, format!("cut off: {error}"), http::HeaderMap::new()),
    }
}

async fn text(pod: &Pod, path: &str) -> (u16, String) {
    let (status, text, _) = ask(pod, path, Bytes::new()).await;
    (status, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_answers_with_streaming_bodies_and_trailers() {
    let pod = Pod::new();
    let container = start(&pod, Isolation::Request).await;
    assert_eq!(text(&pod, "/count").await, (200, "1\n".to_owned()));
    assert_eq!(text(&pod, "/count").await, (200, "1\n".to_owned()));
    assert_eq!(text(&pod, "/where").await, (200, "Some(Scheme::Http) test\n".to_owned()));
    let large = Bytes::from(vec![b'z'; 300_000]);
    let (status, echoed, trailers) = ask(&pod, "/echo", large).await;
    assert_eq!((status, echoed.len()), (200, 300_000));
    assert_eq!(trailers["x-end"], "1");
    let (status, streamed) = text(&pod, "/stream?300").await;
    assert_eq!((status, streamed.len()), (200, 300_000));
    let (status, body, trailers) = ask(&pod, "/trailers", Bytes::new()).await;
    assert_eq!((status, body.as_str(), &trailers["x-sum"]), (200, "body", &"4".parse().unwrap()));
    pod.sandbox.measure().await;
    let usage = container.usage();
    assert_eq!((usage.requests, usage.faults), (6, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_a_service_are_kept_as_the_isolation_says() {
    let pod = Pod::new();
    let _container = start(&pod, Isolation::Resident).await;
    assert_eq!(text(&pod, "/count").await.1, "1\n");
    assert_eq!(text(&pod, "/stream?2").await.1.len(), 2000);
    assert_eq!(text(&pod, "/count").await.1, "3\n");

    // An answer is whole before its instance is back in the pool, so the next request may get another one.
    let pod = Pod::new();
    let _container = start(&pod, Isolation::Pooled).await;
    for _ in 0..100 {
        if text(&pod, "/count").await.1 != "1\n" {
            return;
        }
    }
    panic!("no instance served two requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_a_service_ends_one_request_and_nothing_else() {
    let pod = Pod::new();
    let mut spec = pod.spec("p3_http", &[]).await;
    spec.limits.memory_bytes = Some(32 << 20);
    let container = pod.sandbox.start(spec).await.unwrap();
    assert_eq!(text(&pod, "/trap").await.0, 502);
    assert_eq!(text(&pod, "/allocate?64").await.0, 502);
    let (status, refused) = text(&pod, "/refuse").await;
    assert_eq!(status, 502);
    assert!(refused.contains("HttpRequestDenied"), "{refused}");
    assert_eq!(text(&pod, "/count").await, (200, "1\n".to_owned()));
    assert!(container.is_running());
    pod.sandbox.measure().await;
    assert_eq!(container.usage().faults, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_a_service_that_takes_too_long_is_cut_off() {
    let pod = Pod::new();
    let mut spec = pod.spec("p3_http", &[]).await;
    spec.http.request_timeout = Duration::from_millis(200);
    let container = pod.sandbox.start(spec).await.unwrap();
    assert_eq!(text(&pod, "/spin").await.0, 502);
    assert!(container.is_running());
    pod.sandbox.measure().await;
    assert_eq!(container.usage().faults, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_both_versions_call_each_other() {
    let (new, old) = (Pod::new(), Pod::new());
    let _new = start(&new, Isolation::Request).await;
    let old_container = old.start("http_behave", &[]).await;
    let call = format!("/call?pod-{}/count", old.number);
    assert_eq!(text(&new, &call).await, (200, "200 1\n".to_owned()));
    old.sandbox.measure().await;
    assert_eq!(old_container.usage().requests, 1);
    assert!(class::HAS_CONNECTIONS || old.netns.connections() == 0, "no connection in between");
    let call = format!("/call?pod-{}/stream?50", new.number);
    assert_eq!(text(&old, &call).await.1.len(), "200 ".len() + 50_000);
    assert!(text(&new, "/call?nobody/").await.1.contains("DnsError"));
    // A body goes through two services of 0.3 as it comes, its trailers left behind.
    let other = Pod::new();
    let _other = start(&other, Isolation::Request).await;
    let large = Bytes::from(vec![b'y'; 200_000]);
    let (status, echoed, _) = ask(&new, &format!("/post?pod-{}/echo", other.number), large).await;
    assert_eq!((status, echoed.len()), (200, 200_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_goes_over_http2_and_between_guests_with_its_trailers() {
    let (one, two) = (Pod::new(), Pod::new());
    let _one = start(&one, Isolation::Request).await;
    let _two = start(&two, Isolation::Request).await;
    let call = format!("/grpc?pod-{}/serve-grpc", two.number);
    assert_eq!(text(&one, &call).await, (200, "ping, status 0".to_owned()));
    assert!(class::HAS_CONNECTIONS || two.netns.connections() == 0, "no connection in between");

    let listener = two.netns.bind_tcp(two.address(50051)).unwrap().listen(8, None).unwrap();
    let server = async {
        let stream = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(async |request: http::Request<_>| {
            let body: hyper::body::Incoming = request.into_body();
            let body = body.collect().await.unwrap().to_bytes();
            let status = ("grpc-status".parse().unwrap(), "5".parse().unwrap());
            let trailers = http::HeaderMap::from_iter([status]);
            let frames = [http_body::Frame::data(body), http_body::Frame::trailers(trailers)];
            let frames = frames.map(Ok::<_, std::convert::Infallible>);
            let body = StreamBody::new(futures::stream::iter(frames));
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    };
    let call = format!("/grpc?pod-{}:50051/greet", two.number);
    let (_, answer) = tokio::join!(server, text(&one, &call));
    assert_eq!(answer, (200, "ping, status 5".to_owned()));
}
