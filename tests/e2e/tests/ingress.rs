//! Ingress from the outside: rules, TLS, upgrades, classes, and Services on demand behind it.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coracle_e2e::{
    Cluster, HELLO, HTTP, build_guests, container, coracle, eventually, free_port, get, pod, root,
    service, shout,
};
use serde_json::{Value, json};

/// A cluster whose hosts listen at free ports in place of 80 and 443.
fn start() -> (Cluster, u16, u16) {
    let (http, https) = (free_port(), free_port());
    let flags = vec![format!("--http-port={http}"), format!("--https-port={https}")];
    let cluster = Cluster::start_flags(|_| flags);
    cluster.wait_ready();
    (cluster, http, https)
}

/// What curl shows: its exit code and what it printed, the status in the last line.
fn curl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "90", "-w", "\n%{http_code}"])
        .args(arguments)
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), said)
}

fn web(name: &str) -> [Value; 2] {
    // The host itself asks the pod at its address.
    let probe = json!({"httpGet": {"path": "/count", "port": 8080}});
    let ports = json!({"ports": [{"containerPort": 8080}], "readinessProbe": probe});
    let spec = json!({"containers": [container("c", HTTP, &ports)]});
    [pod(name, &spec), service(name, 8080)]
}

fn ingress(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec})
}

fn path(path: &str, kind: &str, service: &str) -> Value {
    json!({"path": path, "pathType": kind,
        "backend": {"service": {"name": service, "port": {"number": 80}}}})
}

/// A certificate of its own for a name: the files `NAME.crt` and `NAME.key`.
fn certificate(folder: &Path, name: &str, host: &str) {
    let of = |end: &str| folder.join(format!("{name}.{end}"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={host}"), "-addext", &format!("subjectAltName=DNS:{host}")])
        .arg("-keyout")
        .arg(of("key"))
        .arg("-out")
        .arg(of("crt"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Row `ux.five-minutes`: one file and one command, and five instances answer behind a name, spread by the Service. The
/// time is printed; a promise of seconds needs a machine to itself.
fn one_file_is_a_service(cluster: &Cluster, http: u16) -> Duration {
    let labels = json!({"app": "five"});
    let web = container("web", HTTP, &json!({"ports": [{"containerPort": 8080}]}));
    let rules = json!([{"host": "five.example", "http": {"paths": [path("/", "Prefix", "five")]}}]);
    let file = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "five"}, "spec": {
            "replicas": 5, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [web]}}}},
        service("five", 8080),
        ingress("five", &json!({"rules": rules})),
    ]});
    let place = cluster.folder().join("web.json");
    std::fs::write(&place, file.to_string()).unwrap();
    let begin = std::time::Instant::now();
    cluster.run(&["apply", "-f", &place.display().to_string()]);
    let url = format!("http://127.0.0.1:{http}/env?HOSTNAME");
    let ask = || {
        let (ok, said) = curl(&["-H", "Host: five.example", &url]);
        if ok && said.ends_with("\n200") { Ok(said) } else { Err(said) }
    };
    eventually("the first of five answers", ask);
    let took = begin.elapsed();
    let mut pods = std::collections::BTreeSet::new();
    eventually("all five answer", || {
        pods.insert(ask()?);
        if pods.len() == 5 { Ok(()) } else { Err(format!("{pods:?}")) }
    });
    cluster.run(&["delete", "-f", &place.display().to_string(), "--wait=false"]);
    took
}

fn secret(cluster: &Cluster, name: &str, files: &str) {
    let folder = cluster.folder();
    let file = |end: &str| folder.join(format!("{files}.{end}")).display().to_string();
    let made = cluster.run(&[
        "create",
        "secret",
        "tls",
        name,
        "--dry-run=client",
        "-o",
        "json",
        &format!("--cert={}", file("crt")),
        &format!("--key={}", file("key")),
    ]);
    cluster.apply(&made);
}

fn answers(url: &str, more: &[&str], wanted: &str) -> String {
    eventually(&format!("{url} answers {wanted}"), || {
        let (ok, said) = curl(&[more, &[url]].concat());
        if ok && said.trim_end().ends_with(wanted) { Ok(said) } else { Err(said) }
    })
}

#[test]
fn rules_tls_and_classes() {
    let guests = build_guests("tests/guests");
    let (cluster, http, https) = start();
    cluster.push_guests(&guests);
    let took = one_file_is_a_service(&cluster, http);
    println!("from `kubectl apply` to the first answer: {took:?}");
    certificate(cluster.folder(), "first", "tls.example");
    certificate(cluster.folder(), "second", "tls.example");
    secret(&cluster, "certificate", "first");
    let rules = json!([
        {"host": "a.example", "http": {"paths": [path("/header", "Prefix", "one"), path("/count", "Exact", "one")]}},
        {"host": "tls.example", "http": {"paths": [path("/", "Prefix", "one")]}},
        {"host": "ws.example", "http": {"paths": [path("/", "Prefix", "axum")]}},
    ]);
    let tls = json!([{"hosts": ["tls.example"], "secretName": "certificate"}]);
    let mut limited = ingress(
        "limited",
        &json!({"rules": [
        {"host": "limited.example", "http": {"paths": [path("/", "Prefix", "one")]}}]}),
    );
    limited["metadata"]["annotations"] = json!({"coracle.dev/source-ranges": "192.0.2.0/24"});
    let foreign_class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": "foreign"}, "spec": {"controller": "example.com/other"}});
    let foreign = ingress(
        "foreign",
        &json!({"ingressClassName": "foreign", "rules": [
        {"host": "foreign.example", "http": {"paths": [path("/", "Prefix", "one")]}}]}),
    );
    cluster.push("axum-echo:1", &guests.join("axum-echo.wasm"));
    let axum = json!({"containers": [container("c", "registry.coracle.internal/axum-echo:1",
        &json!({"ports": [{"containerPort": 8080}]}))]});
    cluster.make(&web("one"));
    cluster.make(&[pod("axum", &axum), service("axum", 8080)]);
    cluster.make(&[foreign_class]);
    cluster.make(&[ingress("own", &json!({"rules": rules, "tls": tls})), limited, foreign]);
    cluster.ready("one");

    let plain = format!("http://127.0.0.1:{http}");
    let ask = |host: &str, path: &str, wanted: &str| {
        answers(&format!("{plain}{path}"), &["-H", &format!("Host: {host}")], wanted)
    };
    ask("a.example", "/header?x-forwarded-proto", "http\n200");
    ask("a.example", "/header/x", "no such behaviour\n\n404");
    ask("a.example", "/count", "200");
    ask("a.example", "/count/no", "no rule for this host and path\n\n404");
    ask("a.example", "/headers", "no rule for this host and path\n\n404");
    ask("b.example", "/header", "404");
    ask("foreign.example", "/", "404");
    ask("limited.example", "/", "403");

    let shouted = eventually("a WebSocket through the Ingress", || {
        shout(http, "ws.example", "/shout", "hello")
    });
    assert_eq!(shouted, "HELLO");
    by_name_over_tls(&cluster, https);
    statuses(&cluster);
    the_example(&cluster, http);
    failing_pods_are_left_out(&cluster, http);
    from_the_developers_machine(&cluster);
}

/// Of two pods of a Service one fails every request: it is asked little, by clients outside and by other pods.
fn failing_pods_are_left_out(cluster: &Cluster, http: u16) {
    let ports = json!({"ports": [{"containerPort": 8080}]});
    for service_name in ["outer", "inner"] {
        cluster.make(&[service(service_name, 8080)]);
        for (kind, image) in [("good", HELLO), ("bad", HTTP)] {
            let name = format!("{service_name}-{kind}");
            let mut one = pod(&name, &json!({"containers": [container("c", image, &ports)]}));
            one["metadata"]["labels"]["app"] = json!(service_name);
            cluster.make(&[one]);
            cluster.ready(&name);
        }
    }
    let paths = [path("/trap", "Exact", "outer"), path("/call", "Exact", "one")];
    cluster.make(&[ingress("failing", &json!({"rules": [{"http": {"paths": paths}}]}))]);
    let from_a_pod = "/call?inner.default.svc.cluster.local/trap";
    for path in ["/trap", from_a_pod] {
        let is_bad = || match get(http, path) {
            // A pod that asks says what it was answered.
            Ok(answer) if path == from_a_pod => answer.body.starts_with("502"),
            Ok(answer) => answer.status == 502,
            Err(_) => true,
        };
        let mut failed = 0;
        eventually("one of them fails", || {
            failed += u32::from(is_bad());
            if failed >= 5 { Ok(()) } else { Err(failed) }
        });
        // From here on it is tried again after 1, 2, 4 and more seconds, once each time.
        let failed = (0..200).filter(|_| is_bad()).count();
        assert!(failed < 40, "{path}: {failed} of 200 requests failed");
    }
}

/// TLS by name, with HTTP/2, and a certificate that changes while it serves.
fn by_name_over_tls(cluster: &Cluster, https: u16) {
    let resolve = format!("tls.example:{https}:127.0.0.1");
    let secure = format!("https://tls.example:{https}/header?x-forwarded-proto");
    let with = |name: &str| {
        let file = cluster.folder().join(format!("{name}.crt")).display().to_string();
        ["--resolve".to_owned(), resolve.clone(), "--cacert".to_owned(), file]
    };
    let ask_secure = |name: &str, more: &[&str], wanted: &str| {
        let with = with(name);
        let with: Vec<&str> = with.iter().map(String::as_str).collect();
        answers(&secure, &[&with, more].concat(), wanted)
    };
    ask_secure("first", &["--http1.1"], "https\n200");
    ask_secure("first", &["--http2", "-w", " by %{http_version}"], "https by 2");
    secret(cluster, "certificate", "second");
    ask_secure("second", &[], "https\n200");
    let (ok, said) = curl(&[
        "--resolve",
        &format!("other.example:{https}:127.0.0.1"),
        "-k",
        &format!("https://other.example:{https}/"),
    ]);
    assert!(!ok, "no certificate is for this name: {said}");
}

/// Statuses, as kubectl shows them.
fn statuses(cluster: &Cluster) {
    let address = cluster.shows(
        "ingress/own",
        "/status/loadBalancer/ingress/0/ip",
        cluster.run(&[
            "get",
            "nodes",
            "-o",
            "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}",
        ]),
    );
    assert_eq!(address["spec"]["ingressClassName"], "coracle");
    assert!(cluster.get(&["ingress/foreign"])["status"]["loadBalancer"]["ingress"].is_null());
    let table = cluster.run(&["get", "ingress", "own"]);
    assert!(table.contains("coracle") && table.contains("80, 443"), "{table}");
}

/// `examples/ingress` does what its README says.
fn the_example(cluster: &Cluster, http: u16) {
    let guests = build_guests("examples/guestbook");
    cluster.push("ingress/quotes:1", &guests.join("guestbook-quotes.wasm"));
    cluster.apply(&std::fs::read_to_string(root().join("examples/ingress/ingress.yaml")).unwrap());
    let url = format!("http://127.0.0.1:{http}/");
    let said = answers(&url, &["-H", "Host: quotes.localhost"], "200");
    assert!(said.contains("(quotes-"), "{said}");
    answers(&url, &["-H", "Host: admin.localhost"], "403");
    answers(&url, &["-H", "Host: other.localhost"], "404");
    // No step by hand: whoever is ready gets requests, and nobody else.
    let scaled = ["-n", "ingress-example", "scale", "deployment", "quotes", "--replicas=3"];
    cluster.run(&scaled);
    let mut seen = std::collections::BTreeSet::new();
    eventually("three pods answer", || {
        let (_, said) = curl(&["-H", "Host: quotes.localhost", &url]);
        assert!(said.trim_end().ends_with("200"), "{said}");
        seen.insert(said.split('(').nth(1).unwrap_or_default().to_owned());
        if seen.len() == 3 { Ok(()) } else { Err(seen.clone()) }
    });
}

/// The very first request after a pause is held until there is a pod.
#[test]
fn a_service_on_demand_behind_an_ingress_is_held() {
    let guests = build_guests("tests/guests");
    let (cluster, http, _) = start();
    cluster.push_guests(&guests);
    let labels = json!({"app": "web"});
    let mut balanced = service("web", 8080);
    balanced["metadata"]["annotations"] = json!({"coracle.dev/scale-to-zero-after": "3s"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [container("c", HELLO, &json!({"ports": [{"containerPort": 8080}]}))]}}}});
    let rules = json!({"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}});
    cluster.make(&[deployment, balanced, ingress("web", &rules)]);
    let url = format!("http://127.0.0.1:{http}/");
    answers(&url, &[], "200");
    eventually("nobody uses it, so no pod is left", || {
        let pods = cluster.get(&["pods", "-l", "app=web"]);
        let left = pods["items"].as_array().unwrap().len();
        if left == 0 { Ok(()) } else { Err(left) }
    });
    let (_, said) = curl(&[&url]);
    assert!(said.trim_end().ends_with("200"), "{said}");
}

/// A proxy on the developer's machine, which ends with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `coracle proxy`: names and addresses of the cluster, by SOCKS5 and as an HTTP proxy.
fn from_the_developers_machine(cluster: &Cluster) {
    let at = format!("127.0.0.1:{}", free_port());
    let proxy = Command::new(coracle())
        .args(["proxy", "--listen", &at, "--kubeconfig"])
        .arg(cluster.kubeconfig())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _proxy = Proxy(proxy);
    let ip = |object: &str, path: &str| cluster.run(&["get", object, "-o", path]);
    let pod = ip("pod/one", "jsonpath={.status.podIP}");
    let service = ip("service/one", "jsonpath={.spec.clusterIP}");
    let socks = format!("socks5h://{at}");
    let plain = format!("http://{at}");
    for host in [
        "one".to_owned(),
        "one.default.svc.cluster.local".to_owned(),
        service,
        format!("{pod}:8080"),
    ] {
        let url = format!("http://{host}/count");
        answers(&url, &["-x", &socks], "1\n\n200");
        answers(&url, &["-x", &plain], "1\n\n200");
        answers(&url, &["-x", &plain, "--proxytunnel"], "1\n\n200");
    }
    forwarded(cluster);
    let (ok, said) = curl(&["-x", &socks, "http://www.example.com/"]);
    assert!(!ok, "the way out is another one: {said}");
    let (_, said) = curl(&["-x", &plain, "http://absent/"]);
    assert!(said.contains("not found") && said.trim_end().ends_with("502"), "{said}");
}

/// The host reaches the pod for whoever stands outside: here a port of this machine is led into it.
fn forwarded(cluster: &Cluster) {
    let port = free_port();
    let ports = format!("{port}:8080");
    let forward = cluster.kubectl_command(&["port-forward", "pod/one", &ports]).spawn().unwrap();
    let _forward = Proxy(forward);
    answers(&format!("http://127.0.0.1:{port}/count"), &[], "1\n\n200");
}
