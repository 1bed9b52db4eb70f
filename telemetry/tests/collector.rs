//! Spans as a collector gets them: a receiver that speaks OTLP over HTTP, and decodes what comes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;

use bytes::Bytes;
use coracle_telemetry::{Config, Ends, Resource, Sampling, Telemetry};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A span, and whose it is.
struct Received {
    resource: Vec<KeyValue>,
    span: Span,
}

/// Listens as a collector; gives its address and what it got.
async fn collector() -> (String, mpsc::UnboundedReceiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    assert_eq!(request.uri().path(), "/v1/traces");
                    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let got = ExportTraceServiceRequest::decode(body).unwrap();
                    for of_resource in got.resource_spans {
                        let resource = of_resource.resource.unwrap().attributes;
                        for span in of_resource.scope_spans.into_iter().flat_map(|s| s.spans) {
                            sender.send(Received { resource: resource.clone(), span }).unwrap();
                        }
                    }
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, receiver)
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|pair| pair.key == key);
    match found.and_then(|pair| pair.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn config(endpoint: &str, ratio: &str) -> Config {
    Config { endpoint: endpoint.parse().unwrap(), sampling: ratio.parse().unwrap() }
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_request_in_and_one_out_are_two_spans_of_the_callers_trace() {
    let (address, mut received) = collector().await;
    let (telemetry, exporting) = Telemetry::start(&config(&address, "1")).unwrap();
    let shop = telemetry.tracer(&Resource::service("shop").with("k8s.pod.name", "shop-1"));
    let stock = telemetry.tracer(&Resource::service("stock"));
    let mut request = Request::get("/cart?item=1").header("host", "shop.example:8080");
    request = request.header("traceparent", PARENT).header("user-agent", "curl/8");
    let mut request = request.body(()).unwrap();
    let ends =
        Ends { peer: "192.0.2.1:5000".parse().unwrap(), local: "10.0.0.1:30080".parse().unwrap() };
    let mut serving = shop.serve(&mut request, Some(ends));
    assert!(request.headers()["traceparent"].to_str().unwrap().starts_with(&PARENT[..36]));
    assert_ne!(request.headers()["traceparent"], PARENT);
    let mut out = Request::post("http://me:secret@stock:81/take").body(()).unwrap();
    let mut asking = shop.send(&mut out, Some(&serving.context()));
    drop(stock.serve(&mut out, None));
    asking.answered(StatusCode::NOT_FOUND);
    drop(asking);
    serving.answered(StatusCode::OK);
    drop(serving);
    exporting.stop().await;

    let (mut server, mut client, mut callee) = (None, None, None);
    while let Ok(one) = received.try_recv() {
        match (one.span.kind, text(&one.resource, "service.name").as_str()) {
            (2, "shop") => server = Some(one),
            (3, "shop") => client = Some(one),
            (2, "stock") => callee = Some(one),
            other => panic!("{other:?}"),
        }
    }
    let (server, client, callee) = (server.unwrap(), client.unwrap(), callee.unwrap());
    assert_eq!(text(&server.resource, "k8s.pod.name"), "shop-1");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    for span in [&server.span, &client.span, &callee.span] {
        assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    }
    assert_eq!(hex(&server.span.parent_span_id), "b7ad6b7169203331");
    assert_eq!(client.span.parent_span_id, server.span.span_id);
    assert_eq!(callee.span.parent_span_id, client.span.span_id);
    let rows = [
        (&server.span, "http.request.method", "GET"),
        (&server.span, "url.path", "/cart"),
        (&server.span, "url.query", "item=1"),
        (&server.span, "url.scheme", "http"),
        (&server.span, "server.address", "shop.example"),
        (&server.span, "server.port", "8080"),
        (&server.span, "client.address", "192.0.2.1"),
        (&server.span, "network.local.port", "30080"),
        (&server.span, "user_agent.original", "curl/8"),
        (&server.span, "http.response.status_code", "200"),
        (&client.span, "http.request.method", "POST"),
        (&client.span, "url.full", "http://REDACTED:REDACTED@stock:81/take"),
        (&client.span, "server.port", "81"),
        (&client.span, "http.response.status_code", "404"),
        (&client.span, "error.type", "404"),
    ];
    for (span, key, expected) in rows {
        assert_eq!(text(&span.attributes, key), expected, "{key}");
    }
    assert_eq!(server.span.status.map(|status| status.code).unwrap_or_default(), 0);
    assert_eq!(client.span.status.map(|status| status.code), Some(2));
    assert_eq!((server.span.name.as_str(), client.span.name.as_str()), ("GET", "POST"));
}

#[tokio::test]
async fn the_callers_decision_counts_and_the_ratio_decides_for_the_rest() {
    let (address, mut received) = collector().await;
    let (telemetry, exporting) = Telemetry::start(&config(&address, "0")).unwrap();
    let tracer = telemetry.tracer(&Resource::service("shop"));
    let ask = |parent: Option<&str>| {
        let mut request = Request::get("/").body(()).unwrap();
        parent.map(|parent| request.headers_mut().insert("traceparent", parent.parse().unwrap()));
        drop(tracer.serve(&mut request, None));
        request.headers()["traceparent"].to_str().unwrap().to_owned()
    };
    let unsampled = PARENT.replace("-01", "-00");
    assert!(ask(Some(PARENT)).ends_with("-01"));
    assert!(ask(Some(&unsampled)).ends_with("-00"), "the trace goes on, unseen");
    assert!(ask(None).ends_with("-00"));
    exporting.stop().await;
    received.recv().await.unwrap();
    assert!(received.try_recv().is_err(), "only the sampled one is sent");
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_and_nobody_waits() {
    // Nobody listens there, and the task that sends has not run yet.
    let (telemetry, exporting) =
        Telemetry::start(&Config { sampling: Sampling::ALL, ..config("http://127.0.0.1:9", "1") })
            .unwrap();
    let tracer = telemetry.tracer(&Resource::service("shop"));
    for _ in 0..coracle_telemetry::QUEUE_SPANS_MAX + 3 {
        drop(tracer.serve(&mut Request::get("/").body(()).unwrap(), None));
    }
    assert_eq!(telemetry.dropped_spans(), 3);
    drop(exporting);
}
