//! Gateway API and load balancers from the outside, and what their statuses say.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use coracle_e2e::{
    Cluster, HTTP, build_guests, container, eventually, free_port, get, pod, service, shout,
};
use serde_json::{Value, json};

/// The status and the body of a request for a host.
fn ask(port: u16, host: &str, path: &str, more: &[&str]) -> (String, String) {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "60", "-w", "\n%{http_code}", "-H", &format!("Host: {host}")])
        .args(more)
        .arg(format!("http://127.0.0.1:{port}{path}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = said.rsplit_once('\n').unwrap_or(("", &said));
    if status == "000" {
        return (status.to_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    }
    (status.to_owned(), body.to_owned())
}

fn answers(port: u16, host: &str, path: &str, more: &[&str], wanted: (&str, &str)) {
    eventually(&format!("{host}{path} answers {wanted:?}"), || {
        let said = ask(port, host, path, more);
        if (said.0.as_str(), said.1.trim()) == wanted { Ok(()) } else { Err(said) }
    });
}

fn answers_with(port: u16, host: &str, path: &str, status: &str) {
    eventually(&format!("{host}{path} answers with {status}"), || {
        let said = ask(port, host, path, &[]);
        if said.0 == status { Ok(()) } else { Err(said) }
    });
}

/// A pod and its Service that tell who they are at `/env?WHO`.
fn web(name: &str) -> [Value; 2] {
    let more = json!({"ports": [{"containerPort": 8080}], "env": [{"name": "WHO", "value": name}]});
    [pod(name, &json!({"containers": [container("c", HTTP, &more)]})), service(name, 8080)]
}

fn route(name: &str, hosts: &Value, rules: &Value) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "gw"}], "hostnames": hosts, "rules": rules}})
}

fn backend(name: &str, weight: u32) -> Value {
    json!({"name": name, "port": 80, "weight": weight})
}

fn prefix(path: &str) -> Value {
    json!([{"path": {"type": "PathPrefix", "value": path}}])
}

/// Waits until an object's conditions at a JSON pointer have these statuses.
fn conditions(cluster: &Cluster, object: &str, pointer: &str, wanted: &[(&str, &str)]) {
    eventually(&format!("{object} says {wanted:?}"), || {
        let shown = cluster.get(&[object]);
        let all = shown.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let is_said = |(kind, status): &(&str, &str)| {
            all.iter().any(|one| one["type"] == *kind && one["status"] == *status)
        };
        if wanted.iter().all(is_said) { Ok(()) } else { Err(shown["status"].clone()) }
    });
}

fn routes() -> Vec<Value> {
    let header = |kind: &str, name: &str| {
        json!({"type": format!("{kind}Modifier"), format!("{}Modifier", lower(kind)):
            {"set": [{"name": name, "value": "set"}]}})
    };
    let redirect = json!({"type": "RequestRedirect", "requestRedirect":
        {"scheme": "https", "hostname": "new.example", "statusCode": 301}});
    let rewrite = json!({"type": "URLRewrite", "urlRewrite":
        {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/env"}}});
    vec![
        route(
            "split",
            &json!(["split.example"]),
            &json!([{"backendRefs": [backend("one", 9), backend("two", 1)]}]),
        ),
        route(
            "filters",
            &json!(["filters.example"]),
            &json!([
                {"matches": prefix("/header"), "filters": [header("RequestHeader", "x-own"), header("ResponseHeader", "x-back")],
                    "backendRefs": [backend("one", 1)]},
                {"matches": prefix("/old"), "filters": [redirect]},
                {"matches": prefix("/rewritten"), "filters": [rewrite], "backendRefs": [backend("two", 1)]},
            ]),
        ),
        route(
            "mirrored",
            &json!(["mirrored.example"]),
            &json!([{"filters": [{"type": "RequestMirror",
                "requestMirror": {"backendRef": {"name": "two", "port": 80}}}],
                "backendRefs": [backend("one", 1)]}]),
        ),
        route("axum", &json!(["ws.example"]), &json!([{"backendRefs": [backend("axum", 1)]}])),
        route(
            "broken",
            &json!(["broken.example"]),
            &json!([{"backendRefs": [backend("absent", 1)]}]),
        ),
        route(
            "slow",
            &json!(["slow.example"]),
            &json!([{"backendRefs": [backend("one", 1)],
            "timeouts": {"request": "500ms"}}]),
        ),
    ]
}

fn lower(kind: &str) -> String {
    let mut kind = kind.to_owned();
    kind.get_mut(..1).unwrap().make_ascii_lowercase();
    kind
}

#[test]
fn routes_weights_filters_and_statuses() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    let port = free_port();
    eventually("the kinds of the Gateway API and the class are there", || {
        let output = cluster.kubectl(&["get", "gatewayclass", "coracle"]);
        if output.ok { Ok(()) } else { Err(output) }
    });
    conditions(&cluster, "gatewayclass/coracle", "/status/conditions", &[("Accepted", "True")]);
    let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "gw"},
        "spec": {"gatewayClassName": "coracle", "listeners": [{"name": "http", "port": port, "protocol": "HTTP"}]}});
    cluster.push("axum-echo:1", &guests.join("axum-echo.wasm"));
    let axum = json!({"containers": [container("c", "registry.coracle.internal/axum-echo:1",
        &json!({"ports": [{"containerPort": 8080}]}))]});
    cluster.make(&[web("one"), web("two"), [pod("axum", &axum), service("axum", 8080)]].concat());
    let method = json!({"service": "grpc.health.v1.Health", "method": "Check"});
    let grpc = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"name": "grpc"}, "spec": {"parentRefs": [{"name": "gw"}], "hostnames": ["grpc.example"],
            "rules": [{"matches": [{"method": method}], "backendRefs": [backend("one", 1)]}]}});
    cluster.make(&[vec![gateway, grpc], routes()].concat());
    cluster.ready("one");
    cluster.ready("two");

    // Both backends get requests, the heavier one most of them.
    for pod in ["one", "two"] {
        answers(port, "split.example", "/env?WHO", &[], ("200", pod));
    }
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..200 {
        let (_, who) = ask(port, "split.example", "/env?WHO", &[]);
        *counts.entry(who.trim().to_owned()).or_default() += 1;
    }
    let of = |name: &str| counts.get(name).copied().unwrap_or_default();
    // 180 to 20; so far off it is once in a million times.
    assert!(of("one") + of("two") == 200 && of("one") >= 155 && of("two") >= 2, "{counts:?}");

    filters_and_refusals(port);
    conditions(
        &cluster,
        "gateway/gw",
        "/status/conditions",
        &[("Accepted", "True"), ("Programmed", "True")],
    );
    conditions(
        &cluster,
        "gateway/gw",
        "/status/listeners/0/conditions",
        &[("ResolvedRefs", "True")],
    );
    cluster.shows("gateway/gw", "/status/listeners/0/attachedRoutes", 7);
    let parent = "/status/parents/0/conditions";
    conditions(
        &cluster,
        "httproute/split",
        parent,
        &[("Accepted", "True"), ("ResolvedRefs", "True")],
    );
    conditions(
        &cluster,
        "httproute/broken",
        parent,
        &[("Accepted", "True"), ("ResolvedRefs", "False")],
    );
    let table = cluster.run(&["get", "gateway", "gw"]);
    assert!(table.contains("coracle") && table.contains("True"), "{table}");

    other_traffic(&cluster, port);
    balanced(&cluster);
}

/// What filters change, and what is answered in a backend's place.
fn filters_and_refusals(port: u16) {
    answers(port, "filters.example", "/header?x-own", &[], ("200", "set"));
    let (_, head) = ask(port, "filters.example", "/header?x-own", &["-i"]);
    assert!(head.to_lowercase().contains("x-back: set"), "{head}");
    answers_with(port, "filters.example", "/old/x?q=1", "301");
    let (status, head) = ask(port, "filters.example", "/old/x?q=1", &["-i"]);
    assert_eq!(status, "301");
    assert!(head.contains("https://new.example/old/x?q=1"), "{head}");
    answers(port, "filters.example", "/rewritten?WHO", &[], ("200", "two"));
    answers_with(port, "broken.example", "/", "500");
    assert_eq!(ask(port, "other.example", "/", &[]).0, "404");
    answers_with(port, "slow.example", "/spin", "504");
}

/// WebSockets, calls of gRPC with their trailers, and copies of requests.
fn other_traffic(cluster: &Cluster, port: u16) {
    let shouted = eventually("a WebSocket through the Gateway", || {
        shout(port, "ws.example", "/shout", "hello")
    });
    assert_eq!(shouted, "HELLO");
    // A health check without a name: five bytes of a message that has none.
    let file = cluster.folder().join("message");
    std::fs::write(&file, [0; 5]).unwrap();
    let body = format!("@{}", file.display());
    let grpc =
        ["--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers"];
    let grpc = [&grpc[..], &["--data-binary", &body, "-o", "/dev/null", "-D", "-"]].concat();
    let call = |method: &str| {
        ask(port, "grpc.example", &format!("/grpc.health.v1.Health/{method}"), &grpc)
    };
    let head = eventually("a call is let in", || match call("Check") {
        (status, head) if status == "200" => Ok(head),
        other => Err(other),
    });
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    assert!(head.contains("grpc-status: 0"), "the trailers come through: {head}");
    // A route is for one method.
    for _ in 0..10 {
        let said = call("Watch");
        assert_eq!(said.0, "404", "{said:?}");
    }
    conditions(
        cluster,
        "grpcroute/grpc",
        "/status/parents/0/conditions",
        &[("Accepted", "True"), ("ResolvedRefs", "True")],
    );
    // The one answers, the other hears it too.
    for pod in ["one", "two"] {
        eventually(&format!("{pod} has the request"), || {
            // Nobody waits for a copy, so one may be lost.
            answers(port, "mirrored.example", "/log?copied", &[], ("200", "logged"));
            let said = cluster.run(&["logs", pod]);
            if said.contains("copied") { Ok(()) } else { Err(said) }
        });
    }
}

/// Services of type LoadBalancer are at the hosts' addresses, unless they belong to somebody else.
fn balanced(cluster: &Cluster) {
    let balanced = |name: &str, port: u16, more: Value| {
        let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "selector": {"app": "one"}, "allocateLoadBalancerNodePorts": false,
                "ports": [{"port": port, "targetPort": 8080}]}});
        service["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service
    };
    let (open, closed, foreign) = (free_port(), free_port(), free_port());
    cluster.make(&[
        balanced("open", open, json!({})),
        balanced("closed", closed, json!({"loadBalancerSourceRanges": ["192.0.2.0/24"]})),
        balanced("foreign", foreign, json!({"loadBalancerClass": "example.com/lb"})),
    ]);
    eventually("the load balancer answers", || match get(open, "/env?WHO") {
        Ok(answer) if answer.body.trim() == "one" => Ok(()),
        other => Err(other),
    });
    let address = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}";
    let address = cluster.run(&["get", "nodes", "-o", address]);
    let shown =
        cluster.shows("service/open", "/status/loadBalancer/ingress/0/ip", address.as_str());
    assert!(shown["spec"]["ports"][0]["nodePort"].is_null(), "{shown}");
    assert!(cluster.run(&["get", "service", "open"]).contains(&address));
    cluster.shows("service/closed", "/status/loadBalancer/ingress/0/ip", address.as_str());
    datagrams(cluster);
    assert!(get(closed, "/env?WHO").is_err());
    assert!(get(foreign, "/env?WHO").is_err());
    assert!(cluster.get(&["service/foreign"])["status"]["loadBalancer"]["ingress"].is_null());
}

/// A load balancer of datagrams: the answer comes from where the question went.
fn datagrams(cluster: &Cluster) {
    cluster.push("net-probe:1", &build_guests("tests/guests").join("net-probe.wasm"));
    let port = free_port();
    let more = json!({"args": ["udp-serve 0.0.0.0:5353 1000"]});
    let spec =
        json!({"containers": [container("c", "registry.coracle.internal/net-probe:1", &more)]});
    let balanced = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "udp"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "udp"}, "allocateLoadBalancerNodePorts": false,
            "ports": [{"port": port, "targetPort": 5353, "protocol": "UDP"}]}});
    cluster.make(&[pod("udp", &spec), balanced]);
    let ask = || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.connect(("127.0.0.1", port))?;
        socket.send(b"hello")?;
        let mut answer = [0; 16];
        let length = socket.recv(&mut answer)?;
        Ok::<_, std::io::Error>(answer[..length].to_vec())
    };
    assert_eq!(eventually("a datagram is answered", ask), b"hello");
}
