//! Spans as a collector gets them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use coracle_collector::{CLIENT, Collector, Received, SERVER};
use coracle_telemetry::{
    Config, Data, Ends, Metric, QUEUE_SPANS_MAX, Resource, Signal, Stream, Telemetry,
};
use http::{Request, StatusCode};

fn config(endpoint: &str, ratio: &str) -> Config {
    Config::new(endpoint.parse().unwrap(), ratio.parse().unwrap())
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

#[tokio::test]
async fn lines_arrive_with_their_trace_level_and_owner() {
    let mut collector = Collector::start().await;
    let (telemetry, exporting) = Telemetry::start(&config(&collector.endpoint, "1")).unwrap();
    let resource = Resource::service("shop").with("k8s.pod.name", "shop-1");
    let (logger, tracer) = (telemetry.logger(&resource).unwrap(), telemetry.tracer(&resource));
    let request = Request::get("/").header("traceparent", PARENT);
    let span = tracer.serve(&mut request.body(()).unwrap(), None);
    logger.line(Stream::Stdout, 1_700_000_000_000_000_001, "hello", Some(&span.context()));
    logger.line(Stream::Stderr, 5, r#"{"level":"warn","message":"old price"}"#, None);
    exporting.stop().await;

    let sent = collector.messages("/v1/logs");
    let of_resource = &sent[0]["resourceLogs"][0];
    let attributes = of_resource["resource"]["attributes"].to_string();
    assert!(attributes.contains(r#"{"key":"k8s.pod.name","value":{"stringValue":"shop-1"}}"#));
    let records = of_resource["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert_eq!(records.len(), 2, "both lines go with one request");
    let rows = [
        (0, "/timeUnixNano", "\"1700000000000000001\""),
        (0, "/body/stringValue", "\"hello\""),
        (0, "/traceId", "\"0af7651916cd43dd8448eb211c80319c\""),
        (0, "/attributes/0/value/stringValue", "\"stdout\""),
        (1, "/severityNumber", "13"),
        (1, "/severityText", "\"warn\""),
        (1, "/body/stringValue", "\"old price\""),
    ];
    for (index, pointer, want) in rows {
        let found = records[index].pointer(pointer).unwrap().to_string();
        assert_eq!(found, want, "{pointer}");
    }
    assert_eq!(records[0]["spanId"].as_str().unwrap().len(), 16);
    assert!(records[1].get("traceId").is_none());
}

#[tokio::test]
async fn what_is_measured_is_sent_by_the_clock_and_at_the_end() {
    let mut collector = Collector::start().await;
    let (telemetry, exporting) = Telemetry::start(&config(&collector.endpoint, "1")).unwrap();
    let metric = |name, unit, data| Metric { name, unit, attributes: vec![("a", "b")], data };
    telemetry.measure(
        &Resource::service("shop"),
        Box::new(move || {
            let (bounds, buckets) = (vec![0.5, 1.0], vec![3, 0, 1]);
            Some(vec![
                metric("container.cpu.time", "s", Data::Counter(1.5)),
                metric("container.memory.usage", "By", Data::Amount(7)),
                metric("t", "s", Data::Histogram { bounds, buckets, sum: 2.5 }),
            ])
        }),
    );
    telemetry.measure(&Resource::service("gone"), Box::new(|| None));
    exporting.stop().await;

    let sent = collector.messages("/v1/metrics");
    assert_eq!(sent[0]["resourceMetrics"].as_array().unwrap().len(), 1);
    let metrics = &sent[0]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let rows = [
        ("/0/name", "\"container.cpu.time\""),
        ("/0/sum/isMonotonic", "true"),
        ("/0/sum/aggregationTemporality", "2"),
        ("/0/sum/dataPoints/0/asDouble", "1.5"),
        ("/0/sum/dataPoints/0/attributes/0/key", "\"a\""),
        ("/1/unit", "\"By\""),
        ("/1/gauge/dataPoints/0/asInt", "\"7\""),
        ("/2/histogram/dataPoints/0/count", "\"4\""),
        ("/2/histogram/dataPoints/0/bucketCounts", r#"["3","0","1"]"#),
        ("/2/histogram/dataPoints/0/explicitBounds", "[0.5,1.0]"),
    ];
    for (pointer, want) in rows {
        let found = metrics.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {metrics}"));
        assert_eq!(found.to_string(), want, "{pointer}");
    }
    let point = &metrics[0]["sum"]["dataPoints"][0];
    let nanos = |name: &str| point[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos("startTimeUnixNano") <= nanos("timeUnixNano"));
}

#[tokio::test]
async fn only_what_was_asked_for_is_sent() {
    let mut collector = Collector::start().await;
    let mut asked = config(&collector.endpoint, "1");
    asked.signals = vec![Signal::Logs];
    let (telemetry, exporting) = Telemetry::start(&asked).unwrap();
    let resource = Resource::service("shop");
    drop(telemetry.tracer(&resource).serve(&mut Request::get("/").body(()).unwrap(), None));
    telemetry.measure(&resource, Box::new(|| Some(Vec::new())));
    telemetry.logger(&resource).unwrap().line(Stream::Stdout, 1, "x", None);
    exporting.stop().await;
    assert!(collector.rest().is_empty() && collector.messages("/v1/metrics").is_empty());
    assert_eq!(collector.messages("/v1/logs").len(), 1);
    asked.signals = vec![Signal::Traces];
    let (telemetry, _exporting) = Telemetry::start(&asked).unwrap();
    assert!(telemetry.logger(&resource).is_none());
}

/// It takes the connection, and says nothing: each of the three parts has its own request.
#[tokio::test(start_paused = true)]
async fn a_collector_that_says_nothing_keeps_nobody_from_its_end() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let (telemetry, exporting) = Telemetry::start(&config(&endpoint, "1")).unwrap();
    for name in ["one", "two", "three"] {
        let tracer = telemetry.tracer(&Resource::service(name));
        drop(tracer.serve(&mut Request::get("/").body(()).unwrap(), None));
    }
    let began = tokio::time::Instant::now();
    exporting.stop().await;
    let took = began.elapsed().as_secs();
    assert!(took <= 10, "{took} seconds of the clock that only waits move");
}
