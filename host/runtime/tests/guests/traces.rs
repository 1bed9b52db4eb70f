//! Traces of requests, from outside through a guest to the next one, as a collector gets them.

use bytes::Bytes;
use coracle_collector::{CLIENT, Collector, Received, SERVER};
use coracle_runtime::Container;
use coracle_telemetry::{Config, Resource, Telemetry, Tracer};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;

use crate::world::{Pod, fabric};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A line of a guest's log is sent with the trace of the request that it was written for.
#[tokio::test(flavor = "multi_thread")]
async fn lines_are_sent_with_the_request_that_they_are_about() {
    let mut collector = Collector::start().await;
    let endpoint = collector.endpoint.parse().unwrap();
    let config = Config::new(endpoint, "0".parse().unwrap());
    let (telemetry, exporting) = Telemetry::start(&config).unwrap();
    let pod = Pod::new();
    let resource = Resource::service("shop");
    let mut spec = pod.spec("http_behave", &[]).await;
    spec.tracer = Some(telemetry.tracer(&resource));
    spec.logger = telemetry.logger(&resource);
    let _container = pod.sandbox.start(spec).await.unwrap();
    ask(&pod, "/log?hello").await;
    ask(&pod, "/log?again").await;
    exporting.stop().await;
    let server = collector.rest().into_iter().find(|span| span.attribute("url.query") == "hello");
    let span = server.unwrap();
    let sent = collector.messages("/v1/logs");
    let records = sent.iter().flat_map(|sent| {
        let records = sent.pointer("/resourceLogs/0/scopeLogs/0/logRecords").unwrap();
        records.as_array().unwrap()
    });
    let records: Vec<_> = records.collect();
    let hello = records.iter().find(|record| record["body"]["stringValue"] == "hello").unwrap();
    let ids = (hello["traceId"].as_str().unwrap(), hello["spanId"].as_str().unwrap());
    assert_eq!(ids, (span.trace().as_str(), span.id().as_str()));
    assert_eq!(records.len(), 2, "{records:?}");
}

async fn start(pod: &Pod, tracer: Option<Tracer>) -> Container {
    let mut spec = pod.spec("http_behave", &[]).await;
    spec.tracer = tracer;
    pod.sandbox.start(spec).await.unwrap()
}

/// Asks a pod with a trace context, and gives what it says.
async fn ask(pod: &Pod, path: &str) -> String {
    let stream = fabric().deliver(pod.address(80), ([192, 0, 2, 7], 5).into()).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        http::Request::get(path).header("host", "shop.test").header("traceparent", PARENT);
    let response = sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await;
    let body = response.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_through_the_guest_to_the_next_one() {
    let mut collector = Collector::start().await;
    let endpoint = collector.endpoint.parse().unwrap();
    let config = Config::new(endpoint, "0".parse().unwrap());
    let (telemetry, exporting) = Telemetry::start(&config).unwrap();
    let (one, two) = (Pod::new(), Pod::new());
    let tracer = |name| Some(telemetry.tracer(&Resource::service(name)));
    let _one = start(&one, tracer("one")).await;
    let _two = start(&two, tracer("two")).await;
    let call = format!("/call?pod-{}/header?traceparent", two.number);
    let seen = ask(&one, &call).await;
    let missing = ask(&one, "/trap").await;
    assert!(missing.contains("failed"), "{missing}");
    exporting.stop().await;

    let all = collector.rest();
    let of = |kind, service: &str, path: &str| -> &Received {
        let fits = |span: &&Received| {
            let place = span.attribute("url.path") + &span.attribute("url.full");
            span.span.kind == kind
                && span.of_resource("service.name") == service
                && place.ends_with(path)
        };
        all.iter().find(fits).unwrap_or_else(|| panic!("{service} {path}: {all:#?}"))
    };
    let server = of(SERVER, "one", "/call");
    let client = of(CLIENT, "one", "/header?traceparent");
    let callee = of(SERVER, "two", "/header");
    let trap = of(SERVER, "one", "/trap");
    assert_eq!(all.len(), 4, "{all:#?}");
    for span in &all {
        assert_eq!(span.trace(), "0af7651916cd43dd8448eb211c80319c");
    }
    assert_eq!(server.parent(), "b7ad6b7169203331");
    assert_eq!((client.parent(), callee.parent()), (server.id(), client.id()));
    assert_eq!(
        seen,
        format!("200 00-{}-{}-01", callee.trace(), callee.id()),
        "what the guest sees"
    );
    let rows = [
        (server, "server.address", "shop.test"),
        (server, "client.address", "192.0.2.7"),
        (server, "network.peer.port", "5"),
        (server, "network.local.port", "80"),
        (server, "http.response.status_code", "200"),
        (client, "http.response.status_code", "200"),
        (trap, "http.response.status_code", "502"),
        (trap, "error.type", "502"),
    ];
    for (span, key, expected) in rows {
        assert_eq!(span.attribute(key), expected, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tracer_the_context_passes_as_it_came_and_requests_are_counted() {
    let pod = Pod::new();
    let container = start(&pod, None).await;
    assert_eq!(ask(&pod, "/header?traceparent").await, PARENT);
    ask(&pod, "/allocate?8").await;
    ask(&pod, "/trap").await;
    let usage = container.usage();
    assert_eq!((usage.latencies.classes, usage.latencies.count()), ([0, 0, 2, 0, 0, 1], 3));
    assert!(usage.latencies.sum_usec > 0);
    assert!(usage.memory_bytes == 0 && usage.memory_bytes_max > 8 << 20, "{usage:?}");
}
