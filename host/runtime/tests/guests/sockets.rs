//! The pod's network as Rust's std and tokio see it.

use bytes::Bytes;
use coracle_runtime::Container;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;

use crate::world::{Pod, fabric, until};

/// Runs commands one after the other in one guest, and gives what each said.
async fn said(pod: &Pod, commands: &[&str]) -> Vec<String> {
    let mut spec = pod.spec("net-probe", commands).await;
    spec.name = "probe".to_owned();
    let log = pod.folder.path().join("probe/0.log");
    spec.log = Some(coracle_runtime::LogSpec::new(log.clone()));
    let exit = pod.sandbox.start(spec).await.unwrap().wait().await;
    assert_eq!(exit.code, 0, "{exit:?}");
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().filter_map(|line| Some(line.split_once(" => ")?.1.to_owned())).collect()
}

async fn serve(pod: &Pod, command: &str, port: u16) -> Container {
    let container = pod.start("net-probe", &[command]).await;
    let address = pod.address(port);
    until(|| pod.netns.is_listening(address)).await;
    container
}

#[tokio::test(flavor = "multi_thread")]
async fn two_containers_of_a_pod_meet_on_loopback() {
    let pod = Pod::new();
    let server = serve(&pod, "serve 0.0.0.0:80 2", 80).await;
    let own = pod.address(80);
    let ask = format!("ask {own} two");
    let answers = said(&pod, &["ask 127.0.0.1:80 one", &ask, "connect 127.0.0.1:80"]).await;
    let ip = own.ip();
    let expected = [
        "127.0.0.1:80 127.0.0.1 one from 127.0.0.1:80".to_owned(),
        format!("{own} {ip} two from {own}"),
    ];
    assert_eq!(answers[..2], expected);
    assert_eq!(server.wait().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_reach_each_other_by_name_and_not_on_loopback() {
    let (one, two) = (Pod::new(), Pod::new());
    let server = serve(&two, "serve 0.0.0.0:80 1", 80).await;
    let ask = format!("ask pod-{}:80 hello", two.number);
    let resolve = format!("resolve pod-{}", two.number);
    let answers = said(
        &one,
        &["connect 127.0.0.1:80", &resolve, "resolve nobody", "resolve localhost", &ask],
    )
    .await;
    let (to, from) = (two.address(80), one.address(0).ip());
    assert_eq!(answers[0], "ConnectionRefused");
    assert_eq!(answers[1], to.ip().to_string());
    assert!(!answers[2].contains('.'), "{answers:?}");
    assert_eq!(answers[3], "127.0.0.1 ::1");
    assert_eq!(answers[4], format!("{to} {from} hello from {to}"));
    assert_eq!(server.wait().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_goes_through_in_both_directions() {
    let pod = Pod::new();
    let server = serve(&pod, "serve 0.0.0.0:80 1", 80).await;
    let answers = said(&pod, &["load 127.0.0.1:80 8"]).await;
    assert_eq!(answers, [format!("{} bytes, same true", 8 << 20)]);
    assert_eq!(server.wait().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_their_kinds() {
    let pod = Pod::new();
    let own = pod.address(0).ip();
    let commands = [
        "connect 127.0.0.1:9",
        "connect 10.128.255.255:80",
        "rebind 0.0.0.0:80",
        "bind 0.0.0.0:80",
        "bind 10.9.9.9:80",
        &format!("bind {own}:81"),
        "bind [::]:82",
    ];
    let answers = said(&pod, &commands).await;
    assert_eq!(answers[0], "ConnectionRefused");
    assert!(
        ["HostUnreachable", "NetworkUnreachable"].contains(&answers[1].as_str()),
        "{answers:?}"
    );
    assert_eq!(answers[2], "AddrInUse");
    assert_eq!(answers[3], "0.0.0.0:80", "free again");
    assert_eq!(answers[4], "AddrNotAvailable");
    assert_eq!(answers[5], format!("{own}:81"));
    assert_eq!(answers[6], "[::]:82");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_timeouts_and_calls_that_do_not_wait() {
    let pod = Pod::new();
    let answers = said(&pod, &["options 127.0.0.1:80", "nonblocking 127.0.0.1:80"]).await;
    assert_eq!(answers[0], "nodelay true ttl 12 read Err(WouldBlock)");
    let expected =
        "Some(WouldBlock) Some(WouldBlock) [116, 101, 120, 116] 262144 WouldBlock".to_owned();
    assert_eq!(answers[1], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_left_unread_reset_the_connection() {
    let pod = Pod::new();
    let server = serve(&pod, "refuse-rest 0.0.0.0:80", 80).await;
    let answers = said(&pod, &["expect-reset 127.0.0.1:80"]).await;
    // wasi-libc has one number for every failed stream; the host says connection-reset.
    assert_eq!(answers, ["Err(InputOutputError) Err(BrokenPipe)"]);
    assert_eq!(server.wait().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_are_answered() {
    let (one, two) = (Pod::new(), Pod::new());
    let server = two.start("net-probe", &["udp-serve 0.0.0.0:53 2"]).await;
    until(|| two.netns.is_receiving(two.address(53))).await;
    let to = two.address(53);
    let answers = said(&one, &[&format!("udp-ask {to} hello")]).await;
    assert_eq!(answers, [format!("hello from {to}, connected hello")]);
    assert_eq!(server.wait().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_families_are_a_pods_own() {
    let (one, two) = (Pod::new(), Pod::new());
    // The families share no port: both servers have the same.
    let four = serve(&two, "serve 0.0.0.0:80 1", 80).await;
    let mut spec = two.spec("net-probe", &["serve [::]:80 2"]).await;
    spec.name = "six".to_owned();
    let six = two.sandbox.start(spec).await.unwrap();
    let (to, to6) = (two.address(80), two.address6(80));
    until(|| two.netns.is_listening(to6)).await;
    let (from, from6) = (one.address(0).ip(), one.address6(0).ip());
    let asks = [
        &format!("ask {to} four"),
        &format!("ask {to6} six"),
        "connect [::1]:80",
        &format!("bind {}", two.address6(7)),
        "bind [::1]:7",
    ];
    let answers = said(&one, &asks).await;
    let expected = [
        format!("{to} {from} four from {to}"),
        format!("{to6} {from6} six from {to6}"),
        "ConnectionRefused".to_owned(),
        "AddrNotAvailable".to_owned(),
        "[::1]:7".to_owned(),
    ];
    assert_eq!(answers, expected);
    assert_eq!(four.wait().await.code, 0);
    let answers = said(&two, &["ask [::1]:80 self"]).await;
    assert_eq!(answers, ["[::1]:80 ::1 self from [::1]:80"]);
    assert_eq!(six.wait().await.code, 0);
    let server = two.start("net-probe", &["udp-serve [::]:53 2"]).await;
    until(|| two.netns.is_receiving(two.address6(53))).await;
    let to6 = two.address6(53);
    let answers = said(&Pod::new(), &[&format!("udp-ask {to6} hello")]).await;
    assert_eq!(answers, [format!("hello from {to6}, connected hello")]);
    assert_eq!(server.wait().await.code, 0);
}

/// One request over a connection of its own.
async fn request(pod: &Pod, request: http::Request<Full<Bytes>>) -> String {
    let stream = fabric().deliver(pod.address(8080), ([192, 0, 2, 7], 4321).into()).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    connection.await.unwrap().unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn get(pod: &Pod, path: &str) -> String {
    let get = http::Request::get(path).header("host", "test").body(Full::default()).unwrap();
    request(pod, get).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_axum_server_serves_many_at_once_and_calls_out() {
    let (one, two) = (Pod::new(), Pod::new());
    let _servers = (one.start("axum-echo", &[]).await, two.start("axum-echo", &[]).await);
    for pod in [&one, &two] {
        until(|| pod.netns.is_listening(pod.address(8080))).await;
    }
    assert_eq!(get(&one, "/").await, "hello");
    assert_eq!(get(&one, "/peer").await, "192.0.2.7:4321");
    let large = "x".repeat(1 << 20);
    let post = http::Request::post("/echo").header("host", "test");
    let echoed = request(&one, post.body(Full::from(large.clone())).unwrap()).await;
    assert!(echoed == large);
    let (a, b, c) = tokio::join!(get(&one, "/meet"), get(&one, "/meet"), get(&one, "/meet"));
    let mut met = [a, b, c];
    met.sort();
    assert_eq!(met, ["leader", "met", "met"]);
    assert_eq!(get(&one, &format!("/call/pod-{}/8080", two.number)).await, "hello");
    assert_eq!(get(&one, "/call/127.0.0.1/8080").await, "hello");
    assert_eq!(get(&one, "/call/127.0.0.1/1").await, "ConnectionRefused");
}

/// *Source:* RFC 6455 §4 and §5: the handshake, and frames of a text that a client masks.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_listens_takes_a_websocket() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let pod = Pod::new();
    let _server = pod.start("axum-echo", &[]).await;
    until(|| pod.netns.is_listening(pod.address(8080))).await;
    let mut stream = fabric().deliver(pod.address(8080), ([192, 0, 2, 7], 4321).into()).unwrap();
    let hello = "GET /shout HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(hello.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "the answer to the key: {head}");
    for (said, answered) in [("hello", "HELLO"), ("again", "AGAIN")] {
        let mask = [7, 1, 5, 3];
        let masked = said.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let mut frame = vec![0x81, 0x80 | u8::try_from(said.len()).unwrap()];
        frame.extend(mask);
        frame.extend(masked);
        stream.write_all(&frame).await.unwrap();
        let mut answer = vec![0; 2 + answered.len()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[..2], [0x81, u8::try_from(answered.len()).unwrap()]);
        assert_eq!(&answer[2..], answered.as_bytes());
    }
}
