//! Streams to pods and nodes, by unmodified clients: port-forward, exec, attach, cp, the proxies.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use coracle_e2e::{
    Cluster, KUBECTL_NEW, KUBECTL_OLD, build_guests, eventually, get, kubectl, python,
};
use serde_json::json;

/// Both versions of kubectl, each with its own way and with the way of older clients.
const WAYS: [(&str, &str); 4] =
    [(KUBECTL_NEW, "true"), (KUBECTL_NEW, "false"), (KUBECTL_OLD, "true"), (KUBECTL_OLD, "false")];

/// One version of kubectl; `websockets` is `false` for SPDY alone.
struct Client<'a> {
    cluster: &'a Cluster,
    program: PathBuf,
    websockets: &'static str,
}

impl Client<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("HOME", self.cluster.folder())
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", self.websockets)
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", self.websockets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command with a text as its input; gives code, output and errors.
    fn run(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut child = self.command(arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Starts to forward a free port.
    fn forward(&self, target: &str, port: &str) -> Forward {
        let mut child =
            self.command(&["port-forward", target, &format!(":{port}")]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("Forwarding from 127.0.0.1:")
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        if let Some(port) = address {
            return Forward { child, port, _lines: lines };
        }
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        unreachable_port_forward(target, &line, &errors, self.cluster)
    }
}

#[expect(clippy::panic, reason = "a test that fails")]
fn unreachable_port_forward(target: &str, line: &str, errors: &str, cluster: &Cluster) -> Forward {
    panic!("port-forward {target}: '{line}' {errors}\n{}", cluster.logs())
}

/// A forwarded port; ends when it is dropped.
struct Forward {
    child: Child,
    port: u16,
    _lines: BufReader<ChildStdout>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn clients(cluster: &Cluster) -> impl Iterator<Item = Client<'_>> {
    WAYS.into_iter().map(move |(version, websockets)| Client {
        cluster,
        program: kubectl(version),
        websockets,
    })
}

fn cluster() -> Cluster {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    cluster.push("behave:1", &guests.join("behave.wasm"));
    let hello = json!({"name": "hello", "image": "registry.coracle.internal/hello:1",
        "ports": [{"name": "http", "containerPort": 8080}]});
    let listener = json!({"name": "listener", "image": "registry.coracle.internal/behave:1",
        "args": ["listen", "7000"]});
    let manifest = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"}, "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "hello"}},
            "template": {"metadata": {"labels": {"app": "hello"}}, "spec": {"containers": [hello]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"}, "spec": {
            "selector": {"app": "hello"}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "listener"},
            "spec": {"containers": [listener]}},
    ]});
    cluster.apply(&manifest.to_string());
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    cluster.run(&["wait", "--for=condition=Ready", "pod/listener", "--timeout=60s"]);
    cluster
}

fn name_of(cluster: &Cluster, label: &str) -> String {
    let path = "jsonpath={.items[0].metadata.name}";
    cluster.run(&["get", "pods", "-l", label, "-o", path])
}

#[test]
fn ports_are_forwarded_for_every_kubectl() {
    let cluster = cluster();
    let pod = name_of(&cluster, "app=hello");
    for client in clients(&cluster) {
        for (target, port) in [
            (format!("pod/{pod}"), "8080"),
            ("deployment/hello".into(), "http"),
            ("service/hello".into(), "80"),
        ] {
            let forward = client.forward(&target, port);
            let answer = get(forward.port, "/").unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "hello\n"), "{target}");
        }
        many_connections_at_once(&client, &pod);
        half_closed_connections_still_answer(&client);
        a_port_that_nobody_listens_on_is_said(&client);
    }
    cluster.run(&["wait", "--for=condition=Ready", "pod/listener", "--timeout=10s"]);
}

fn many_connections_at_once(client: &Client<'_>, pod: &str) {
    let forward = client.forward(pod, "8080");
    let port = forward.port;
    let threads: Vec<_> = (0..30)
        .map(|_| std::thread::spawn(move || get(port, "/").map(|answer| answer.body)))
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Ok("hello\n".to_owned()));
    }
}

fn half_closed_connections_still_answer(client: &Client<'_>) {
    let forward = client.forward("pod/listener", "7000");
    let mut stream = TcpStream::connect(("127.0.0.1", forward.port)).unwrap();
    stream.write_all(b"one\ntwo\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "answer\nanswer\n");
}

fn a_port_that_nobody_listens_on_is_said(client: &Client<'_>) {
    let mut forward = client.forward("pod/listener", "7001");
    let mut stream = TcpStream::connect(("127.0.0.1", forward.port)).unwrap();
    let mut text = String::new();
    // Whether the connection ends or is reset is the client's choice.
    let _ = stream.read_to_string(&mut text);
    assert_eq!(text, "");
    let mut errors = BufReader::new(forward.child.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    assert!(
        line.contains("connect: connection refused: nothing in the pod listens on port 7001"),
        "{line}"
    );
}

#[test]
fn proxies_reach_nodes_pods_and_services() {
    let cluster = cluster();
    let pod = name_of(&cluster, "app=hello");
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let raw = |path: &str| cluster.run(&["get", "--raw", path]);
    assert_eq!(raw(&format!("/api/v1/nodes/{node}/proxy/healthz")), "ok");
    assert!(raw(&format!("/api/v1/nodes/{node}/proxy/pods")).contains("PodList"));
    let log = raw(&format!("/api/v1/nodes/{node}/proxy/containerLogs/default/listener/listener"));
    assert_eq!(log, "listening\n");
    for name in [pod.clone(), format!("{pod}:8080"), format!("http:{pod}:8080")] {
        assert_eq!(raw(&format!("/api/v1/namespaces/default/pods/{name}/proxy/")), "hello\n");
    }
    for name in ["hello:web", "hello:80", "http:hello:80"] {
        let path = format!("/api/v1/namespaces/default/services/{name}/proxy/any?a=b");
        assert_eq!(raw(&path), "hello\n", "{name}");
    }
    let refused = |path: &str| {
        let output = cluster.kubectl(&["get", "--raw", path]);
        assert!(!output.ok, "{path}: {output:?}");
        output.stderr
    };
    let closed = refused(&format!("/api/v1/namespaces/default/pods/{pod}:81/proxy/"));
    assert!(
        closed.contains("error trying to reach service") && closed.contains("refused"),
        "{closed}"
    );
    let none = refused("/api/v1/namespaces/default/services/hello:99/proxy/");
    assert!(none.contains("no service port 99 found for service \"hello\""), "{none}");
    through_kubectl_proxy(&cluster, &pod);
}

fn through_kubectl_proxy(cluster: &Cluster, pod: &str) {
    let mut proxy = cluster.kubectl_command(&["proxy", "--port=0"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
    let answer = get(port, &format!("/api/v1/namespaces/default/pods/{pod}/proxy/")).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello\n"));
    let moved = get(port, &format!("/api/v1/namespaces/default/pods/{pod}/proxy")).unwrap();
    assert_eq!(moved.status, 301, "relative links need the slash");
    proxy.kill().unwrap();
    proxy.wait().unwrap();
}

#[test]
fn streams_that_cannot_be_say_why() {
    let cluster = cluster();
    for client in clients(&cluster) {
        let cases: [(&[&str], &str); 4] = [
            (&["exec", "nosuch", "--", "true"], "pods \"nosuch\" not found"),
            (
                &["exec", "listener", "-c", "nosuch", "--", "true"],
                "container nosuch is not valid for pod listener",
            ),
            (
                &["exec", "listener", "--", "no-such-program"],
                "\"no-such-program\": executable file not found",
            ),
            (&["port-forward", "pod/nosuch", "1"], "pods \"nosuch\" not found"),
        ];
        for (arguments, expected) in cases {
            let (code, _, errors) = client.run(arguments, "");
            assert!(code != 0 && errors.contains(expected), "{arguments:?}: {code} {errors}");
        }
    }
}

#[test]
fn the_python_client_forwards_ports() {
    let cluster = cluster();
    let pod = name_of(&cluster, "app=hello");
    let arguments = [cluster.kubeconfig().to_str().unwrap().to_owned(), pod];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = python("tests/e2e/tools/python/portforward.py", &arguments);
    assert_eq!(output, "python port-forward: ok\n");
}

#[test]
fn logs_of_every_container_and_stream() {
    let cluster = cluster();
    let container = |name: &str, args: &[&str]| json!({"name": name, "image": "registry.coracle.internal/behave:1", "args": args});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "both"}, "spec": {
        "restartPolicy": "Never",
        "containers": [container("out", &["print", "to stdout"]), container("err", &["complain", "to stderr"])]}});
    cluster.apply(&pod.to_string());
    eventually("both have ended", || {
        let phase = cluster.run(&["get", "pod", "both", "-o", "jsonpath={.status.phase}"]);
        if phase == "Succeeded" { Ok(()) } else { Err(phase) }
    });
    let all = cluster.run(&["logs", "both", "--all-containers", "--prefix"]);
    assert_eq!(all, "[pod/both/out] to stdout\n[pod/both/err] to stderr\n");
    let limited = cluster.run(&["logs", "both", "-c", "out", "--limit-bytes=4"]);
    assert_eq!(limited, "to s");
    let later = cluster.run(&["logs", "both", "-c", "out", "--since-time=2099-01-01T00:00:00Z"]);
    assert_eq!(later, "");
    let raw = |query: &str| {
        cluster.run(&["get", "--raw", &format!("/api/v1/namespaces/default/pods/both/log?{query}")])
    };
    assert_eq!(raw("container=err&stream=Stdout"), "");
    assert_eq!(raw("container=err&stream=Stderr"), "to stderr\n");
}
