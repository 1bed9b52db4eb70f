//! The pods' network as a user meets it: datagrams through Services and ports of the host, a pod that
//! calls itself by its Service, and components for WASI 0.3.

use std::net::UdpSocket;
use std::time::Duration;

use coracle_e2e::{Cluster, build_guests, eventually, free_port, get, pod};
use serde_json::json;

/// The answer to a datagram from outside; asked again when one is lost before the server is there.
fn ask_udp(port: u16, text: &str) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(said)?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).map_err(said)?;
    socket.connect(("127.0.0.1", port)).map_err(said)?;
    socket.send(text.as_bytes()).map_err(said)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).map_err(said)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[test]
fn datagrams_reach_services_host_ports_and_their_own_pod() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("net-probe:1", &guests.join("net-probe.wasm"));
    let image = "registry.coracle.internal/net-probe:1";
    let host_port = free_port();
    let node_port = cluster.node_port(0);
    let ports = json!([{"containerPort": 5353, "protocol": "UDP", "hostPort": host_port}]);
    // The last container shares the pod's address: what it asks the Service comes back to it. The short
    // name would be the pod's own. It ends and is started again, so the pod is not always Ready.
    let server = json!({"containers": [
        {"name": "server", "image": image, "args": ["udp-serve 0.0.0.0:5353 1000"], "ports": ports},
        {"name": "tcp", "image": image, "args": ["serve 0.0.0.0:8080 1000"]},
        {"name": "self", "image": image, "args": [
            "udp-ask echo.default.svc:53 myself", "ask echo.default.svc:80 me"]},
    ]});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"},
    "spec": {"type": "NodePort", "selector": {"app": "echo"}, "publishNotReadyAddresses": true,
        "ports": [
            {"name": "udp", "protocol": "UDP", "port": 53, "targetPort": 5353, "nodePort": node_port},
            {"name": "tcp", "port": 80, "targetPort": 8080},
        ]}});
    cluster.make(&[service, pod("echo", &server)]);
    for port in [node_port, host_port] {
        let answer = eventually("a datagram from outside is answered", || ask_udp(port, "outside"));
        assert_eq!(answer, "outside");
    }
    let service = cluster.get(&["service", "echo"]);
    let ip = service["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let client = json!({"restartPolicy": "Never", "containers": [
        {"name": "c", "image": image, "args": ["udp-ask echo:53 hello"]}]});
    cluster.make(&[pod("client", &client)]);
    let said = cluster.printed("client");
    assert_eq!(said, format!("udp-ask echo:53 hello => hello from {ip}:53, connected hello\n"));
    eventually("the pod is answered by itself", || {
        let said = cluster.kubectl(&["logs", "echo", "-c", "self"]).stdout;
        let by_udp = format!("myself from {ip}:53, connected myself\n");
        let by_tcp = format!(" me from {ip}:80\n");
        if said.contains(&by_udp) && said.contains(&by_tcp) { Ok(()) } else { Err(said) }
    });
    cluster.run(&["delete", "pod", "echo", "client"]);
    eventually("the host's port is free", || {
        UdpSocket::bind(("0.0.0.0", host_port)).map(|_socket| ()).map_err(|error| error.to_string())
    });
}

#[test]
fn components_for_wasi_0_3_run_and_serve() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("p3-http:1", &guests.join("p3_http.wasm"));
    cluster.push("p3-probe:1", &guests.join("p3_probe.wasm"));
    let image = |name: &str| format!("registry.coracle.internal/{name}:1");
    let node_port = cluster.node_port(0);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": node_port}]}});
    let web = json!({"containers": [{"name": "c", "image": image("p3-http"),
        "ports": [{"containerPort": 8080}]}]});
    cluster.make(&[service, pod("web", &web)]);
    cluster.ready("web");
    let answer = eventually("the service answers", || match get(node_port, "/count") {
        Ok(answer) if answer.status == 200 => Ok(answer.body),
        other => Err(other),
    });
    assert!(answer.contains('1'), "{answer}");
    let streamed = get(node_port, "/stream?100").unwrap();
    assert_eq!((streamed.status, streamed.body.len() >= 100_000), (200, true));
    let command = json!({"restartPolicy": "Never", "containers": [{"name": "c",
        "image": image("p3-probe"), "env": [{"name": "COLOUR", "value": "teal"}],
        "args": ["env COLOUR", "file write tmp/note text", "file read tmp/note 0", "resolve web"]}]});
    cluster.make(&[pod("once", &command)]);
    let said = cluster.printed("once");
    let service = cluster.get(&["service", "web"]);
    let ip = service["spec"]["clusterIP"].as_str().unwrap();
    let wanted = [
        "env COLOUR => teal",
        "file write tmp/note text => 4",
        "file read tmp/note 0 => text",
        &format!("resolve web => {ip}"),
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
    let failing = json!({"restartPolicy": "Never",
        "containers": [{"name": "c", "image": image("p3-probe"), "args": ["exit 7"]}]});
    cluster.make(&[pod("failing", &failing)]);
    let code = "/status/containerStatuses/0/state/terminated/exitCode";
    cluster.shows("pod/failing", code, 7);
}
