//! Streams to pods and nodes, by unmodified clients: port-forward, exec, attach, cp, the proxies.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

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
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            // Beside what is read: it answers while it is told.
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            child.wait_with_output().unwrap()
        });
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
        child.wait().unwrap();
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
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=180s"]);
    cluster.run(&["wait", "--for=condition=Ready", "pod/listener", "--timeout=180s"]);
    // That it runs is not that it has come so far.
    eventually("it listens", || {
        let log = cluster.kubectl(&["logs", "listener"]);
        if log.stdout == "listening\n" { Ok(()) } else { Err(log) }
    });
    eventually("the Service has its endpoint", || {
        let path = "/api/v1/namespaces/default/services/hello:web/proxy/";
        let answer = cluster.kubectl(&["get", "--raw", path]);
        if answer.stdout == "hello\n" { Ok(()) } else { Err(answer) }
    });
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
    cluster.run(&["wait", "--for=condition=Ready", "pod/listener", "--timeout=180s"]);
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
fn commands_run_for_every_kubectl() {
    let cluster = cluster();
    for client in clients(&cluster) {
        let exec = |arguments: &[&str], input: &str| {
            let all = [&["exec", "-i", "listener", "--"], arguments].concat();
            client.run(&all, input)
        };
        let text = |code: i32, out: &str, err: &str| (code, out.to_owned(), err.to_owned());
        assert_eq!(exec(&["echo", "a b"], ""), text(0, "a b\n", ""));
        let (code, out, err) = exec(&["sh", "-c", "echo out; echo err >&2; exit 3"], "");
        assert_eq!((code, out.as_str()), (3, "out\n"));
        assert_eq!(err, "err\ncommand terminated with exit code 3\n");
        let long = "0123456789abcdef".repeat(20_000);
        assert_eq!(exec(&["cat"], &long), text(0, &long, ""), "input ends where it ends");
        copies_files(&client);
        a_terminal_echoes(&client);
    }
}

fn copies_files(client: &Client<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let (here, back) = (folder.path().join("here"), folder.path().join("back"));
    let content: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    std::fs::write(&here, &content).unwrap();
    let to = client.run(&["cp", here.to_str().unwrap(), "listener:/tmp/there"], "");
    assert_eq!(to.0, 0, "{to:?}");
    let from = client.run(&["cp", "listener:/tmp/there", back.to_str().unwrap()], "");
    assert_eq!(from.0, 0, "{from:?}");
    assert_eq!(std::fs::read_to_string(back).unwrap(), content);
}

/// A terminal of the machine's own, made by `script`, around kubectl.
fn at_a_terminal(client: &Client<'_>, arguments: &str) -> Child {
    let line = format!("{} {arguments}", client.program.to_str().unwrap());
    let mut command = Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .env("KUBECONFIG", client.cluster.kubeconfig())
        .env("HOME", client.cluster.folder())
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", client.websockets)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn a_terminal_echoes(client: &Client<'_>) {
    let command = "exec -it listener -- sh -c 'read x; echo got $x; exit 4'";
    let mut child = at_a_terminal(client, command);
    child.stdin.take().unwrap().write_all(b"word\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("word\r\n") && text.contains("got word\r\n"), "{text:?}");
    assert_eq!(output.status.code(), Some(4), "{text:?}");
}

#[test]
fn pods_are_attached_to_and_debugged() {
    let cluster = cluster();
    for client in clients(&cluster) {
        let run = ["run", "once", "--rm", "-i", "--restart=Never"];
        let image = ["--image=registry.coracle.internal/behave:1", "--", "cat"];
        let (code, out, err) = client.run(&[&run[..], &image].concat(), "to the pod\n");
        assert_eq!(code, 0, "{out} {err}");
        assert!(
            out.contains("to the pod\n") && out.contains("pod \"once\" deleted"),
            "{out} {err}"
        );
        eventually("it is gone", || {
            let left = cluster.run(&["get", "pods", "-o", "name"]);
            if left.contains("once") { Err(left) } else { Ok(()) }
        });
    }
    attached(&cluster);
    debugged(&cluster);
    // With the above, all that one does with a running container: row `cri.runtime-service`.
    let client = clients(&cluster).next().unwrap();
    copies_files(&client);
    a_terminal_echoes(&client);
    let image = "--image=coracle.dev/toolbox";
    a_person_works(&client, &format!("run typed -it --rm --restart=Never {image} -- sh"));
    a_person_works(&client, &format!("debug -it listener {image} -- sh"));
}

/// Somebody types at a shell that is a container's own: Enter is a carriage return, as keyboards send it once kubectl
/// has the terminal to itself.
fn a_person_works(client: &Client<'_>, arguments: &str) {
    let mut child = at_a_terminal(client, arguments);
    let mut keyboard = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let screen = Arc::new(Mutex::new(String::new()));
    let seen = screen.clone();
    let watching = std::thread::spawn(move || {
        let mut piece = [0; 1024];
        while let Ok(length @ 1..) = output.read(&mut piece) {
            seen.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    });
    let shows = |shown: &str| {
        let screen = screen.lock().unwrap();
        if screen.contains(shown) { Ok(()) } else { Err(screen.clone()) }
    };
    eventually("a prompt", || {
        keyboard.write_all(b"\r").unwrap();
        shows("/ # ")
    });
    for (typed, shown) in [
        ("echo $((6 * 7))x\r", "42x\r\n/ # "),
        ("sleep 600\r\x03", "sleep 600\r\n^C\r\n/ # "),
        ("cat; echo ended\r\x04", "cat; echo ended\r\nended\r\n/ # "),
    ] {
        keyboard.write_all(typed.as_bytes()).unwrap();
        eventually(shown, || shows(shown));
    }
    keyboard.write_all(b"exit\r").unwrap();
    watching.join().unwrap();
    let code = child.wait().unwrap();
    assert!(code.success(), "{code}: {}", screen.lock().unwrap());
}

fn attached(cluster: &Cluster) {
    let container = json!({"name": "c", "image": "registry.coracle.internal/behave:1",
        "command": ["cat"], "stdin": true, "stdinOnce": true});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reads"},
        "spec": {"restartPolicy": "Never", "containers": [container]}});
    cluster.apply(&pod.to_string());
    cluster.run(&["wait", "--for=condition=Ready", "pod/reads", "--timeout=180s"]);
    let output = cluster.kubectl_with(&["attach", "-i", "reads"], "by attach\n");
    assert!(output.ok && output.stdout == "by attach\n", "{output:?}");
    eventually("it has ended with its input", || {
        let phase = cluster.run(&["get", "pod", "reads", "-o", "jsonpath={.status.phase}"]);
        if phase == "Succeeded" { Ok(()) } else { Err(phase) }
    });
}

fn debugged(cluster: &Cluster) {
    let image = "--image=registry.coracle.internal/behave:1";
    cluster.run(&["debug", "listener", "-c", "look", image, "--", "echo", "looked around"]);
    eventually("the debugger has ended", || {
        let path = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}";
        let code = cluster.run(&["get", "pod", "listener", "-o", path]);
        if code == "0" { Ok(()) } else { Err((code, cluster.get(&["pod", "listener"]))) }
    });
    assert_eq!(cluster.run(&["logs", "listener", "-c", "look"]), "looked around\n");
    let ready = cluster.run(&["get", "pod", "listener", "--no-headers"]);
    assert!(ready.contains("1/1") && ready.contains("Running"), "{ready}");
}

#[test]
fn top_shows_what_is_used() {
    let cluster = cluster();
    eventually("what the node uses is known", || {
        let top = cluster.kubectl(&["top", "nodes", "--no-headers"]);
        let columns: Vec<&str> = top.stdout.split_whitespace().collect();
        match columns[..] {
            [_, cpu, _, memory, _] if cpu.ends_with('m') && memory.ends_with("Mi") => Ok(()),
            _ => Err(top),
        }
    });
    let busy = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "busy"}, "spec": {
        "containers": [{"name": "c", "image": "registry.coracle.internal/behave:1", "args": ["spin"],
            "resources": {"limits": {"cpu": "200m"}}}]}});
    cluster.apply(&busy.to_string());
    cluster.run(&["wait", "--for=condition=Ready", "pod/busy", "--timeout=180s"]);
    eventually("its share is seen", || {
        let top = cluster.kubectl(&["top", "pod", "busy", "--containers", "--no-headers"]);
        let cpu = top.stdout.split_whitespace().nth(2).and_then(|cpu| cpu.strip_suffix('m'));
        let millis: u32 = cpu.and_then(|cpu| cpu.parse().ok()).unwrap_or(0);
        // Its limit is 200; a loaded machine gives it less.
        if (20..=260).contains(&millis) { Ok(()) } else { Err(top) }
    });
    eventually("all three are known", || {
        let all = cluster.kubectl(&["top", "pods", "--no-headers"]);
        if all.stdout.lines().count() == 3 { Ok(()) } else { Err(all) }
    });
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let scraped = |page: &str| {
        cluster.run(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/metrics/{page}")])
    };
    let line =
        "container_cpu_usage_seconds_total{container=\"c\",namespace=\"default\",pod=\"busy\"";
    for page in ["resource", "cadvisor"] {
        eventually(&format!("{page} has it"), || {
            let page = scraped(page);
            if page.contains(line) { Ok(()) } else { Err(page) }
        });
    }
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
fn the_python_client_runs_commands() {
    let cluster = cluster();
    let output =
        python("tests/e2e/tools/python/exec.py", &[cluster.kubeconfig().to_str().unwrap()]);
    assert_eq!(output, "python exec: ok\n");
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
    // kubectl asks for them in no order.
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[pod/both/err] to stderr", "[pod/both/out] to stdout"]);
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
