//! Spans as a collector gets them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use coracle_collector::{CLIENT, Collector, Received, SERVER};
use coracle_telemetry::{Config, Ends, QUEUE_SPANS_MAX, Resource, Telemetry};
use http::{Request, StatusCode};

fn config(endpoint: &str, ratio: &str) -> Config {
    Config { endpoint: endpoint.parse().unwrap(), sampling: ratio.parse().unwrap() }
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_request_in_and_one_out_are_two_spans_of_the_callers_trace() {
    let mut collector = Collector::start().await;
    let (telemetry, exporting) = Telemetry::start(&config(&collector.endpoint, "1")).unwrap();
    let shop = telemetry.tracer(&Resource::service("shop").with("k8s.pod.name", "shop-1"));
    let stock = telemetry.tracer(&Resource::service("stock"));
    let request = Request::get("/cart?item=1").header("host", "shop.example:8080");
    let request = request.header("traceparent", PARENT).header("user-agent", "curl/8");
    let mut request = request.body(()).unwrap();
    let ends =
        Ends { peer: "192.0.2.1:5000".parse().unwrap(), local: "10.0.0.1:30080".parse().unwrap() };
    let mut serving = shop.serve(&mut request, Some(ends));
    let handed_on = request.headers()["traceparent"].to_str().unwrap();
    assert!(handed_on.starts_with(&PARENT[..36]) && handed_on != PARENT, "{handed_on}");
    let mut out = Request::post("http://me:secret@stock:81/take").body(()).unwrap();
    let mut asking = shop.send(&mut out, Some(&serving.context()));
    drop(stock.serve(&mut out, None));
    asking.answered(StatusCode::NOT_FOUND);
    drop(asking);
    serving.answered(StatusCode::OK);
    drop(serving);
    exporting.stop().await;

    let all = collector.rest();
    assert_eq!(all.len(), 3);
    let of = |kind, service: &str| -> &Received {
        let fits =
            |one: &&Received| one.span.kind == kind && one.of_resource("service.name") == service;
        all.iter().find(fits).unwrap()
    };
    let (server, client, callee) = (of(SERVER, "shop"), of(CLIENT, "shop"), of(SERVER, "stock"));
    assert_eq!(server.of_resource("k8s.pod.name"), "shop-1");
    assert!(all.iter().all(|one| one.trace() == "0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(server.parent(), "b7ad6b7169203331");
    assert_eq!((client.parent(), callee.parent()), (server.id(), client.id()));
    let rows = [
        (server, "http.request.method", "GET"),
        (server, "url.path", "/cart"),
        (server, "url.query", "item=1"),
        (server, "url.scheme", "http"),
        (server, "server.address", "shop.example"),
        (server, "server.port", "8080"),
        (server, "client.address", "192.0.2.1"),
        (server, "network.local.port", "30080"),
        (server, "user_agent.original", "curl/8"),
        (server, "http.response.status_code", "200"),
        (client, "http.request.method", "POST"),
        (client, "url.full", "http://REDACTED:REDACTED@stock:81/take"),
        (client, "server.port", "81"),
        (client, "http.response.status_code", "404"),
        (client, "error.type", "404"),
    ];
    for (one, key, expected) in rows {
        assert_eq!(one.attribute(key), expected, "{key}");
    }
    let code = |one: &Received| one.span.status.as_ref().map_or(0, |status| status.code);
    assert_eq!((code(server), code(client)), (0, 2), "404 is an error for who asked");
    assert_eq!((server.span.name.as_str(), client.span.name.as_str()), ("GET", "POST"));
}

#[tokio::test]
async fn the_callers_decision_counts_and_the_ratio_decides_for_the_rest() {
    let mut collector = Collector::start().await;
    let (telemetry, exporting) = Telemetry::start(&config(&collector.endpoint, "0")).unwrap();
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
    assert_eq!(collector.rest().len(), 1, "only the sampled one is sent");
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_and_nobody_waits() {
    // Nobody listens there, and the task that sends has not run yet.
    let (telemetry, exporting) = Telemetry::start(&config("http://127.0.0.1:9", "1")).unwrap();
    let tracer = telemetry.tracer(&Resource::service("shop"));
    for _ in 0..QUEUE_SPANS_MAX + 3 {
        drop(tracer.serve(&mut Request::get("/").body(()).unwrap(), None));
    }
    assert_eq!(telemetry.dropped_spans(), 3);
    drop(exporting);
}
