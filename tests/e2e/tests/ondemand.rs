//! Scale to zero: a Service that nobody uses has no pods, and the first connection gets them back.
#![expect(clippy::unwrap_used, reason = "a test")]

use coracle_e2e::{Cluster, build_guests, eventually, get, pod, sh};
use serde_json::{Value, json};

/// A Deployment and a Service of the same name and labels, idle after three seconds.
fn on_demand(name: &str, container: &Value, port: &Value) -> String {
    let labels = json!({"app": name});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "annotations": {"coracle.dev/scale-to-zero-after": "3s"}},
        "spec": {"type": "NodePort", "selector": labels, "ports": [port]},
    });
    format!("{deployment}\n---\n{service}\n")
}

fn number_of_pods(cluster: &Cluster, name: &str) -> usize {
    let pods = cluster.get(&["pods", "-l", &format!("app={name}")]);
    pods["items"].as_array().unwrap().len()
}

/// Waits until it was scaled to zero and its pods have gone. How many there are before may change while one looks.
fn wait_for_rest(cluster: &Cluster, name: &str) {
    cluster.shows(&format!("deployment/{name}"), "/spec/replicas", 0);
    eventually(&format!("no pods of {name}"), || match number_of_pods(cluster, name) {
        0 => Ok(()),
        number => Err(number),
    });
}

/// Asks, which has to be answered each time, until there are as many pods as there were before.
fn asked_until_all_are_back(cluster: &Cluster, name: &str, port: u16) {
    assert_eq!(get(port, "/").map(|answer| answer.status), Ok(200));
    eventually("both pods are there while somebody asks", || {
        // Answered or not: the Service may have been idle for a while between two of these.
        let _answer = get(port, "/");
        match number_of_pods(cluster, name) {
            2 => Ok(()),
            number => Err(number),
        }
    });
}

#[test]
fn http_from_outside_is_held_until_a_pod_answers() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    let port = cluster.node_port(0);
    let container = json!({"name": "c", "image": "registry.coracle.internal/hello:1",
        "ports": [{"containerPort": 8080}]});
    cluster.apply(&on_demand(
        "hello",
        &container,
        &json!({"port": 80, "targetPort": 8080, "nodePort": port}),
    ));
    eventually("the host knows the Service", || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
    for _round in 0..2 {
        wait_for_rest(&cluster, "hello");
        // No retry here: the very first request has to be answered.
        asked_until_all_are_back(&cluster, "hello", port);
    }
    eventually("events tell of it", || {
        let events = cluster.run(&["get", "events", "-o", "jsonpath={.items[*].reason}"]);
        let all = events.contains("ScaledToZero") && events.contains("ScaledFromZero");
        if all { Ok(()) } else { Err(events) }
    });
}

#[test]
fn tcp_between_pods_is_held_too() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("net-probe:1", &guests.join("net-probe.wasm"));
    let image = "registry.coracle.internal/net-probe:1";
    let server = json!({"name": "c", "image": image, "args": ["serve 0.0.0.0:7000 100"],
        "ports": [{"containerPort": 7000}], "readinessProbe": {"tcpSocket": {"port": 7000}}});
    cluster.apply(&on_demand("echo", &server, &json!({"port": 7000})));
    // The host knows the Service's name before somebody relies on it.
    cluster.push("behave:1", &guests.join("behave.wasm"));
    let script = "until nslookup echo.default.svc.cluster.local; do sleep 0.2; done";
    let knows = json!({"restartPolicy": "Never", "containers": [sh("c", script, &json!({}))]});
    cluster.make(&[pod("knows", &knows)]);
    cluster.printed("knows");
    wait_for_rest(&cluster, "echo");
    let asker = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asker"}, "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": image, "args": ["ask echo:7000 hi"]}]}});
    cluster.apply(&asker.to_string());
    let said = eventually("the asker ended", || {
        let pod = cluster.get(&["pod", "asker"]);
        match pod["status"]["phase"].as_str() {
            Some("Succeeded" | "Failed") => Ok(cluster.run(&["logs", "asker"])),
            phase => Err(format!("{phase:?}")),
        }
    });
    assert!(said.starts_with("ask echo:7000 hi => ") && said.contains(" hi from "), "{said}");
}
