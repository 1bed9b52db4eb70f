//! Traces, metrics and logs as collectors and Prometheus get them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use coracle_collector::{CLIENT, Collector, Received, SERVER};
use coracle_e2e::{Cluster, build_guests, eventually};
use serde_json::json;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn deployment(name: &str) -> serde_json::Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{
            "name": "web", "image": "registry.coracle.internal/behave:1.2",
            "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
            "ports": [{"name": "http", "containerPort": 80}],
        }]}},
    }})
}

fn service(name: &str, node_port: Option<u16>) -> serde_json::Value {
    let kind = if node_port.is_some() { "NodePort" } else { "ClusterIP" };
    let mut port = json!({"port": 80, "targetPort": "http"});
    if let Some(node_port) = node_port {
        port["nodePort"] = json!(node_port);
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": kind, "selector": {"app": name}, "ports": [port]}})
}

/// Asks the node port, as a part of a trace.
fn ask(port: u16, path: &str) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
    let head = format!(
        "GET {path} HTTP/1.0\r\nHost: shop.example:{port}\r\ntraceparent: {PARENT}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(text)?;
    if answer.contains(" 200 OK\r\n") { Ok(answer) } else { Err(answer) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_followed_from_the_node_port_to_the_last_pod() {
    let mut collector = Collector::start().await;
    let endpoint = collector.endpoint.clone();
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start_flags(|_| {
        let flags = ["--trace-sampling=0", "--otlp-metrics-interval=500"].map(str::to_owned);
        flags.into_iter().chain([format!("--otlp-endpoint={endpoint}")]).collect()
    });
    cluster.wait_ready();
    cluster.push("behave:1.2", &guests.join("http_behave.wasm"));
    let port = cluster.node_port(0);
    for object in [
        deployment("shop"),
        deployment("stock"),
        service("shop", Some(port)),
        service("stock", None),
    ] {
        cluster.apply(&object.to_string());
    }
    cluster.run(&["rollout", "status", "deployment/shop", "--timeout=180s"]);
    cluster.run(&["rollout", "status", "deployment/stock", "--timeout=180s"]);
    let seen = eventually("the guest calls the other through its Service", || {
        ask(port, "/call?stock.default.svc.cluster.local/header?traceparent")
    });
    let mut found: Vec<Received> = Vec::new();
    while found.len() < 3 {
        let next = collector.find(|span| span.trace() == TRACE).await;
        // Those that came too early to be answered are not the ones.
        if next.attribute("http.response.status_code") == "200" {
            found.push(next);
        }
    }
    let of = |kind, service: &str| {
        let fits =
            |one: &&Received| one.span.kind == kind && one.of_resource("service.name") == service;
        found.iter().find(fits).unwrap()
    };
    let (shop, call, stock) = (of(SERVER, "shop"), of(CLIENT, "shop"), of(SERVER, "stock"));
    assert_eq!(shop.parent(), "b7ad6b7169203331");
    assert_eq!((call.parent(), stock.parent()), (shop.id(), call.id()));
    assert!(seen.ends_with(&format!("200 00-{TRACE}-{}-01", stock.id())), "{seen}");
    names_its_pod(&cluster, shop);
    for (span, key, expected) in [
        (shop, "http.request.method", "GET"),
        (shop, "url.path", "/call"),
        (shop, "server.address", "shop.example"),
        (shop, "client.address", "127.0.0.1"),
        (call, "server.address", "stock.default.svc.cluster.local"),
        (stock, "url.query", "traceparent"),
    ] {
        assert_eq!(span.attribute(key), expected, "{key}");
    }
    its_lines_and_figures_follow(&mut collector, port);
}

/// What the guest writes is sent with the request's trace, and so is what it used.
fn its_lines_and_figures_follow(collector: &mut Collector, port: u16) {
    eventually("the guest writes a line", || ask(port, "/log?sold-out"));
    let of_shop = |resource: &serde_json::Value| {
        let attributes = resource["resource"]["attributes"].to_string();
        attributes.contains(r#"{"key":"k8s.deployment.name","value":{"stringValue":"shop"}}"#)
    };
    let mut sent = Vec::new();
    eventually("the line comes with its trace", || {
        sent.extend(collector.messages("/v1/logs"));
        let resources = sent.iter().filter_map(|sent| sent["resourceLogs"].as_array()).flatten();
        let scopes = resources.filter(|of| of_shop(of)).map(|of| &of["scopeLogs"][0]);
        let mut records = scopes.filter_map(|scope| scope["logRecords"].as_array()).flatten();
        let is_it = |record: &&serde_json::Value| {
            record["body"]["stringValue"] == "sold-out" && record["traceId"] == TRACE
        };
        records.find(is_it).map(drop).ok_or_else(|| format!("{sent:?}"))
    });
    let mut sent = Vec::new();
    eventually("figures come", || {
        sent.extend(collector.messages("/v1/metrics"));
        let resources = sent.iter().filter_map(|sent| sent["resourceMetrics"].as_array()).flatten();
        let scopes = resources.filter(|of| of_shop(of)).map(|of| &of["scopeMetrics"][0]);
        let metrics = scopes.filter_map(|scope| scope["metrics"].as_array()).flatten();
        let mut names: Vec<_> = metrics.filter_map(|metric| metric["name"].as_str()).collect();
        names.sort_unstable();
        let wanted =
            ["container.cpu.time", "container.memory.usage", "http.server.request.duration"];
        if wanted.iter().all(|name| names.contains(name)) {
            Ok(())
        } else {
            Err(format!("{sent:?}"))
        }
    });
}

/// Checks that a span says whose it is.
fn names_its_pod(cluster: &Cluster, shop: &Received) {
    let pod = cluster.run(&[
        "get",
        "pods",
        "-l",
        "app=shop",
        "-o",
        "jsonpath={.items[0].metadata.name} {.items[0].metadata.uid}",
    ]);
    let (pod, uid) = pod.split_once(' ').unwrap();
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    for (key, expected) in [
        ("k8s.namespace.name", "default"),
        ("k8s.deployment.name", "shop"),
        ("k8s.pod.name", pod),
        ("k8s.pod.uid", uid),
        ("k8s.container.name", "web"),
        ("k8s.node.name", node.as_str()),
        ("container.image.name", "registry.coracle.internal/behave"),
        ("container.image.tags", "1.2"),
        ("service.version", "1.2"),
    ] {
        assert_eq!(shop.of_resource(key), expected, "{key}");
    }
}

#[test]
fn dashboards_find_their_names() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("behave:1.2", &guests.join("http_behave.wasm"));
    let port = cluster.node_port(0);
    cluster.apply(&deployment("shop").to_string());
    cluster.apply(&service("shop", Some(port)).to_string());
    cluster.run(&["rollout", "status", "deployment/shop", "--timeout=180s"]);
    eventually("it answers", || ask(port, "/allocate?4"));
    let pod =
        cluster.run(&["get", "pods", "-l", "app=shop", "-o", "jsonpath={.items[0].metadata.name}"]);
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let raw =
        |path: &str| cluster.run(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/{path}")]);
    let value = |page: &str, name: &str, labels: &[&str]| -> f64 {
        let line = page.lines().find(|line| {
            line.starts_with(&format!("{name}{{"))
                && labels.iter().all(|label| line.contains(label))
        });
        let line = line.unwrap_or_else(|| panic!("no {name} {labels:?} in\n{page}"));
        line.rsplit_once("} ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()).unwrap()
    };
    let of_pod = format!("pod=\"{pod}\"");
    let image = "image=\"registry.coracle.internal/behave:1.2\"";
    let own = [of_pod.as_str(), "namespace=\"default\"", "container=\"web\"", image];
    let page = raw("metrics/cadvisor");
    assert!(value(&page, "container_cpu_usage_seconds_total", &own) > 0.0);
    assert!(value(&page, "container_memory_max_usage_bytes", &own) > f64::from(4 << 20));
    assert_eq!(value(&page, "container_spec_memory_limit_bytes", &own), f64::from(64 << 20));
    assert!(value(&page, "container_cpu_cfs_periods_total", &own) > 0.0);
    assert!(
        value(&page, "coracle_http_requests_total", &[&own[..], &["code=\"2xx\""]].concat()) >= 1.0
    );
    assert!(
        value(
            &page,
            "http_server_request_duration_seconds_bucket",
            &[&own[..], &["le=\"+Inf\""]].concat()
        ) >= 1.0
    );
    for name in ["receive", "transmit"] {
        let name = format!("container_network_{name}_bytes_total");
        assert!(value(&page, &name, &[of_pod.as_str(), "interface=\"eth0\""]) > 0.0, "{name}");
    }
    for name in [
        "memory_working_set_bytes",
        "memory_rss",
        "memory_cache",
        "memory_swap",
        "fs_reads_bytes_total",
        "fs_writes_bytes_total",
    ] {
        value(&page, &format!("container_{name}"), &own);
    }
    let page = raw("metrics");
    assert_eq!(value(&page, "kubelet_node_name", &[&format!("node=\"{node}\"")]), 1.0);
    assert!(
        page.contains("\nkubelet_running_pods 1 ")
            && page.contains("\nprocess_resident_memory_bytes "),
        "{page}"
    );
    assert!(
        value(&raw("metrics/resource"), "container_memory_working_set_bytes", &own[..3]) >= 0.0
    );
    let summary: serde_json::Value = serde_json::from_str(&raw("stats/summary")).unwrap();
    let pods = summary["pods"].as_array().unwrap();
    let shown = pods.iter().find(|one| one["podRef"]["name"] == pod.as_str()).unwrap();
    assert!(shown["network"]["rxBytes"].as_u64().unwrap() > 0, "{shown}");
    assert!(shown["containers"][0]["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap() > 0, "{shown}");
}
