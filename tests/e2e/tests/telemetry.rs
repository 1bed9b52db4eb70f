//! Traces, metrics and logs as collectors and Prometheus get them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;

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
    // The answer says how the call went, and which span the other pod was told of: its own.
    let start = format!("200 00-{TRACE}-");
    let answering = eventually("the guest calls the other through its Service", || {
        let seen = ask(port, "/call?stock.default.svc.cluster.local/header?traceparent")?;
        let (_, rest) = seen.rsplit_once(&start).ok_or_else(|| seen.clone())?;
        rest.strip_suffix("-01").map(str::to_owned).ok_or(seen)
    });
    // Those that came too early to be answered are not the ones.
    let mut found: Vec<Received> = Vec::new();
    let chain = |found: &[Received]| {
        let of = |id: &str| found.iter().position(|one| one.id() == id);
        let stock = of(&answering)?;
        let call = of(&found[stock].parent())?;
        Some([of(&found[call].parent())?, call, stock])
    };
    let chain = loop {
        if let Some(chain) = chain(&found) {
            break chain;
        }
        found.push(collector.find(|span| span.trace() == TRACE).await);
    };
    let [shop, call, stock] = chain.map(|index| &found[index]);
    for (one, kind, service) in
        [(shop, SERVER, "shop"), (call, CLIENT, "shop"), (stock, SERVER, "stock")]
    {
        let who = (one.span.kind, one.of_resource("service.name"));
        assert_eq!((who.0, &*who.1), (kind, service));
        assert_eq!(one.attribute("http.response.status_code"), "200");
    }
    assert_eq!(shop.parent(), "b7ad6b7169203331");
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
    let of_pod = format!("pod=\"{pod}\"");
    let of_node = format!("node=\"{node}\"");
    let raw = |path: &str| {
        let got = cluster.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/{path}")]);
        if got.ok { Ok(got.stdout) } else { Err(got.stderr) }
    };
    for (path, name, labels, wanted) in rows(&of_pod, &of_node) {
        eventually(&format!("{name} {labels:?} is in {wanted:?}"), || {
            let page = raw(path)?;
            let shown = value(&page, name, &labels);
            if shown.is_some_and(|shown| wanted.contains(&shown)) { Ok(()) } else { Err(page) }
        });
    }
    eventually("the summary knows what was used", || {
        let summary: serde_json::Value =
            serde_json::from_str(&raw("stats/summary")?).map_err(|error| error.to_string())?;
        let pods = summary["pods"].as_array().into_iter().flatten();
        let mut own = pods.filter(|one| one["podRef"]["name"] == pod.as_str());
        let shown = own.next().ok_or_else(|| summary.to_string())?;
        let cpu = &shown["containers"][0]["cpu"]["usageCoreNanoSeconds"];
        let used = [&shown["network"]["rxBytes"], cpu];
        let all = used.iter().all(|one| one.as_u64().is_some_and(|count| count > 0));
        if all { Ok(()) } else { Err(shown.to_string()) }
    });
}

/// A page, a name on it, its labels, and what its value is among.
type Row<'a> = (&'static str, &'static str, Vec<&'a str>, Range<f64>);

/// What dashboards ask for.
fn rows<'a>(of_pod: &'a str, of_node: &'a str) -> Vec<Row<'a>> {
    let image = "image=\"registry.coracle.internal/behave:1.2\"";
    let own = vec![of_pod, "namespace=\"default\"", "container=\"web\"", image];
    let own_and = |label| [&own[..], &[label]].concat();
    let eth0 = vec![of_pod, "interface=\"eth0\""];
    let four_mebi = f64::from(4 << 20);
    let more = |than: f64| than..f64::INFINITY;
    let just = |value: f64| value..value.next_up();
    // What was used and answered is counted a moment after the answer.
    let positive = f64::MIN_POSITIVE;
    let mut rows = vec![
        ("metrics/cadvisor", "container_cpu_usage_seconds_total", own.clone(), more(positive)),
        ("metrics/cadvisor", "container_memory_max_usage_bytes", own.clone(), more(four_mebi)),
        (
            "metrics/cadvisor",
            "container_spec_memory_limit_bytes",
            own.clone(),
            just(16.0 * four_mebi),
        ),
        ("metrics/cadvisor", "container_cpu_cfs_periods_total", own.clone(), more(positive)),
        ("metrics/cadvisor", "coracle_http_requests_total", own_and("code=\"2xx\""), more(1.0)),
        (
            "metrics/cadvisor",
            "http_server_request_duration_seconds_bucket",
            own_and("le=\"+Inf\""),
            more(1.0),
        ),
        ("metrics/cadvisor", "container_network_receive_bytes_total", eth0.clone(), more(positive)),
        ("metrics/cadvisor", "container_network_transmit_bytes_total", eth0, more(positive)),
        ("metrics", "kubelet_node_name", vec![of_node], just(1.0)),
        ("metrics", "kubelet_running_pods", Vec::new(), just(1.0)),
        ("metrics", "process_resident_memory_bytes", Vec::new(), more(positive)),
        ("metrics/resource", "container_memory_working_set_bytes", own[..3].to_vec(), more(0.0)),
    ];
    let there = [
        "container_memory_working_set_bytes",
        "container_memory_rss",
        "container_memory_cache",
        "container_memory_swap",
        "container_fs_reads_bytes_total",
        "container_fs_writes_bytes_total",
    ];
    rows.extend(there.map(|name| ("metrics/cadvisor", name, own.clone(), more(0.0))));
    rows
}

/// The value of a metric with all these labels on a page of Prometheus' text.
fn value(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let mut lines = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (of, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        labels.iter().all(|label| of.contains(label)).then_some(value)
    });
    lines.next()?.split(' ').next()?.parse().ok()
}
