//! http containers: requests, faults, limits, reuse, calls, stops.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_runtime::{Container, ExitReason, FaultKind, Isolation};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::class;
use crate::world::{Pod, fabric, image_in, small_engine, until};

/// Asks a pod's port 80 and gives the status and text, over a connection of its own.
async fn ask(pod: &Pod, path: &str) -> (u16, String) {
    ask_with(pod, path, Bytes::new()).await
}

async fn ask_with(pod: &Pod, path: &str, body: Bytes) -> (u16, String) {
    let stream = fabric().deliver(pod.address(80), ([192, 0, 2, 1], 5).into()).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder().uri(path).header("host", "test");
    let request = request.method(if body.is_empty() { "GET" } else { "POST" });
    let response = match sender.send_request(request.body(Full::new(body)).unwrap()).await {
        Ok(response) => response,
        Err(error) => return (0, format!("cut off: {error}")),
    };
    let status = response.status().as_u16();
    let text = match response.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => format!("cut off: {error}"),
    };
    (status, text)
}

async fn start(pod: &Pod, isolation: Isolation) -> Container {
    let mut spec = pod.spec("http_behave", &[]).await;
    spec.isolation = isolation;
    pod.sandbox.start(spec).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_gets_a_fresh_instance_by_default() {
    let pod = Pod::new();
    let container = start(&pod, Isolation::Request).await;
    assert_eq!(ask(&pod, "/count").await, (200, "1\n".to_owned()));
    assert_eq!(ask(&pod, "/count").await, (200, "1\n".to_owned()));
    pod.sandbox.measure().await;
    let usage = container.usage();
    assert_eq!((usage.requests, usage.faults, usage.memory_bytes), (2, 0, 0));
    assert!(usage.cpu_usec > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pooled_and_resident_instances_keep_their_state() {
    for isolation in [Isolation::Pooled, Isolation::Resident] {
        let pod = Pod::new();
        let _container = start(&pod, isolation).await;
        assert_eq!(ask(&pod, "/count").await.1, "1\n");
        assert_eq!(ask(&pod, "/count").await.1, "2\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_with_trailers() {
    let pod = Pod::new();
    let _container = start(&pod, Isolation::Request).await;
    let body = Bytes::from(vec![b'z'; 300_000]);
    let (status, text) = ask_with(&pod, "/echo", body).await;
    assert_eq!((status, text.len()), (200, 300_000));
    let (status, text) = ask(&pod, "/stream?300").await;
    assert_eq!((status, text.len()), (200, 300_000));
    let stream = fabric().deliver(pod.address(80), ([192, 0, 2, 1], 5).into()).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://test/trailers").body(Full::new(Bytes::new()));
    let response = sender.send_request(request.unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "4");
    assert_eq!(body.to_bytes(), "body");
}

/// A client that has said all ends its side, and still listens.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_ends_its_side_gets_its_answer() {
    let pod = Pod::new();
    let _container = start(&pod, Isolation::Request).await;
    for (path, wanted) in [("/count", "\r\n1\n"), ("/turns?20000000", "\r\ndone\n")] {
        let mut stream = fabric().deliver(pod.address(80), ([192, 0, 2, 1], 5).into()).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(wanted), "{answer}");
    }
}

/// One that is gone for good is no reason to work on. A worker hears no more of it than its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_takes_its_request_along() {
    if class::HAS_CONNECTIONS {
        return;
    }
    let pod = Pod::new();
    let mut spec = pod.spec("http_behave", &[]).await;
    spec.http.request_timeout = Duration::from_secs(3600);
    let container = pod.sandbox.start(spec).await.unwrap();
    let mut stream = fabric().deliver(pod.address(80), ([192, 0, 2, 1], 5).into()).unwrap();
    stream.write_all(b"GET /spin HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    until(|| container.usage().instances == 1).await;
    drop(stream);
    until(|| container.usage().instances == 0).await;
    assert_eq!(ask(&pod, "/count").await, (200, "1\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_ends_one_request_and_nothing_else() {
    let pod = Pod::new();
    let faults = Arc::new(Mutex::new(Vec::new()));
    let mut spec = pod.spec("http_behave", &[]).await;
    spec.limits.memory_bytes = Some(32 << 20);
    let told = faults.clone();
    spec.on_fault = Some(Arc::new(move |fault| told.lock().push(fault)));
    let container = pod.sandbox.start(spec).await.unwrap();
    assert_eq!(ask(&pod, "/trap").await.0, 502);
    assert_eq!(ask(&pod, "/allocate?64").await.0, 502);
    assert_eq!(ask(&pod, "/silent").await.0, 502);
    // Half of this response was out, or none of it yet.
    let (status, text) = ask(&pod, "/late-trap").await;
    assert!(status == 502 || text.starts_with("cut off"), "{status} {text}");
    assert_eq!(ask(&pod, "/count").await, (200, "1\n".to_owned()));
    assert!(container.is_running());
    pod.sandbox.measure().await;
    assert_eq!(container.usage().faults, 4);
    let faults = faults.lock();
    assert_eq!(faults.len(), 1, "the others are only counted: {faults:?}");
    assert_eq!(faults[0].kind, FaultKind::Trap);
    assert!(faults[0].message.starts_with("GET /trap: "), "{faults:?}");
    assert!(faults[0].message.contains("backtrace"), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_cut_off() {
    let pod = Pod::new();
    let mut spec = pod.spec("http_behave", &[]).await;
    spec.http.request_timeout = Duration::from_millis(200);
    let container = pod.sandbox.start(spec).await.unwrap();
    assert_eq!(ask(&pod, "/spin").await.0, 502);
    assert!(container.is_running());
    pod.sandbox.measure().await;
    assert_eq!(container.usage().faults, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_resident_instance_is_the_containers() {
    let pod = Pod::new();
    let container = start(&pod, Isolation::Resident).await;
    assert_eq!(ask(&pod, "/count").await.1, "1\n");
    assert_eq!(ask(&pod, "/trap").await.0, 502);
    let exit = container.wait().await;
    assert_eq!((exit.code, exit.reason), (134, ExitReason::Error), "{exit:?}");
    assert!(!pod.netns.is_listening(pod.address(80)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_more_than_the_queue_holds_is_answered_503() {
    let pod = Pod::new();
    let mut spec = pod.spec("http_behave", &[]).await;
    (spec.http.concurrency_max, spec.http.queue_max) = (1, 0);
    let container = pod.sandbox.start(spec).await.unwrap();
    let pod = Arc::new(pod);
    let busy = pod.clone();
    let first = tokio::spawn(async move { ask(&busy, "/spin").await });
    until(|| container.usage().instances == 1).await;
    let (status, text) = ask(&pod, "/count").await;
    assert_eq!(
        (status, text.as_str()),
        (503, "too many requests are waiting for this container\n")
    );
    container.kill();
    let (status, text) = first.await.unwrap();
    assert!(matches!(status, 0 | 503), "cut off: {status} {text}");
    assert_eq!(container.wait().await.code, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_call_each_other_without_a_connection() {
    let (one, two) = (Pod::new(), Pod::new());
    let _one = start(&one, Isolation::Request).await;
    let two_container = start(&two, Isolation::Request).await;
    let call = format!("/call?pod-{}/count", two.number);
    assert_eq!(ask(&one, &call).await, (200, "200 1\n".to_owned()));
    two.sandbox.measure().await;
    assert_eq!(two_container.usage().requests, 1);
    assert!(class::HAS_CONNECTIONS || two.netns.connections() == 0);
    let call = format!("/call?pod-{}/stream?50", two.number);
    let (_, text) = ask(&one, &call).await;
    assert_eq!(text.len(), "200 ".len() + 50_000, "{text:.100}");
    let (_, text) = ask(&one, "/call?nobody/").await;
    assert!(text.contains("DnsError"), "{text}");
    let (_, text) = ask(&one, &format!("/call?pod-{}:81/", two.number)).await;
    assert!(text.contains("ConnectionRefused"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_socket_server_goes_over_a_connection() {
    let (one, two) = (Pod::new(), Pod::new());
    let _one = start(&one, Isolation::Request).await;
    let listener = two.netns.bind_tcp(two.address(8080)).unwrap().listen(8, None).unwrap();
    let server = async {
        let stream = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(async |request: http::Request<_>| {
            let _: &hyper::body::Incoming = request.body();
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            let text = format!("{} {} {host}\n", request.method(), request.uri());
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(text))))
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    };
    let call = format!("/call?pod-{}:8080/a?b", two.number);
    let (_, (status, text)) = tokio::join!(server, ask(&one, &call));
    assert_eq!(status, 200);
    assert_eq!(text, format!("200 GET /a?b pod-{}:8080\n", two.number));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_idle_connections_and_frees_the_port() {
    let pod = Pod::new();
    let container = start(&pod, Isolation::Request).await;
    let stream = fabric().deliver(pod.address(80), ([192, 0, 2, 1], 5).into()).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("/count").header("host", "test");
    let response = sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await;
    assert_eq!(response.unwrap().status(), 200);
    container.stop(Duration::from_secs(60));
    let exit = container.wait().await;
    assert_eq!((exit.code, exit.reason), (143, ExitReason::Stopped), "{exit:?}");
    assert!(connection.await.is_ok());
    assert!(!pod.netns.is_listening(pod.address(80)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_http_containers_of_a_pod_collide_on_a_port() {
    let pod = Pod::new();
    let _first = start(&pod, Isolation::Request).await;
    let error = pod.sandbox.start(pod.spec("hello_http", &[]).await).await.unwrap_err();
    assert_eq!(error.to_string(), "listen on port 80 for container main");
    assert!(error.hint().unwrap().contains("containerPort"));
    assert_eq!(ask(&pod, "/count").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_and_output_belong_to_the_container() {
    let pod = Pod::new();
    let mut spec = pod.spec("http_behave", &[]).await;
    spec.env.push(("GREETING".to_owned(), "hello".to_owned()));
    let container = pod.sandbox.start(spec).await.unwrap();
    assert_eq!(ask(&pod, "/env?GREETING").await.1, "hello\n");
    ask(&pod, "/log?noticed").await;
    container.stop(Duration::from_secs(60));
    container.wait().await;
    assert_eq!(pod.log(), "stdout F noticed\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_instances_are_all_answered() {
    const INSTANCES: u32 = 16;
    let pod = Arc::new(Pod::new());
    let mut spec = pod.spec("http_behave", &[]).await;
    spec.image = image_in(&small_engine(INSTANCES), "http_behave").await;
    let _container = pod.sandbox.start(spec).await.unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..INSTANCES * 2 {
        let pod = pod.clone();
        requests.spawn(async move { ask(&pod, "/stream?3").await });
    }
    while let Some(answer) = requests.join_next().await {
        let (status, text) = answer.unwrap();
        assert!(matches!((status, text.len()), (200, 3000) | (503, _)), "{status} {text}");
    }
}
