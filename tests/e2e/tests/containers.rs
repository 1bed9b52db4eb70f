//! Containers through the real binary: the toolbox as a command, probes and hooks that run commands,
//! termination messages, restart rules, ports of the host.
#![expect(clippy::unwrap_used, reason = "a test")]

use coracle_e2e::{Cluster, build_guests, eventually, free_port, get};
use serde_json::{Value, json};

const BEHAVE: &str = "registry.coracle.internal/behave:1";
const HELLO: &str = "registry.coracle.internal/hello:1";

fn cluster() -> Cluster {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("behave:1", &guests.join("behave.wasm"));
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    cluster
}

/// Makes a pod of one container `c`.
fn make(cluster: &Cluster, name: &str, policy: &str, more: Value) {
    let mut container = json!({"name": "c", "image": BEHAVE});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"restartPolicy": policy, "containers": [container],
            "volumes": [{"name": "data", "emptyDir": {}}]}});
    cluster.apply(&pod.to_string());
}

fn sh(script: &str) -> Value {
    json!({"command": ["sh", "-c", script],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}]})
}

fn and(mut container: Value, more: Value) -> Value {
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

/// Waits until the container's status has `wanted` at `pointer`.
fn shows(cluster: &Cluster, name: &str, pointer: &str, wanted: Value) -> Value {
    eventually(&format!("{name} has {wanted} at {pointer}"), || {
        let pod = cluster.get(&["pod", name]);
        let status = pod.pointer("/status/containerStatuses/0").cloned().unwrap_or_default();
        if status.pointer(pointer) == Some(&wanted) { Ok(status) } else { Err(pod) }
    })
}

#[test]
fn commands_of_the_toolbox() {
    let cluster = cluster();
    a_shell_is_a_containers_command(&cluster);
    probes_run_commands(&cluster);
    hooks_run_commands(&cluster);
    last_words(&cluster);
    restart_rules(&cluster);
    a_port_of_the_host(&cluster);
}

fn a_shell_is_a_containers_command(cluster: &Cluster) {
    let script = "echo abcx > /data/f; cat /data/f | grep x && exit 3";
    make(cluster, "shell", "Never", sh(script));
    let status = shows(cluster, "shell", "/state/terminated/exitCode", json!(3));
    assert_eq!(status["state"]["terminated"]["reason"], "Error");
    assert_eq!(cluster.run(&["logs", "shell"]), "abcx\n");
    make(cluster, "missing", "Never", json!({"command": ["/bin/true"], "args": ["x"]}));
    shows(cluster, "missing", "/state/terminated/exitCode", json!(0));
}

fn probes_run_commands(cluster: &Cluster) {
    let ready = json!({"exec": {"command": ["cat", "/data/ready"]}, "periodSeconds": 1,
        "failureThreshold": 1});
    let alive = json!({"exec": {"command": ["sh", "-c", "! test -f /data/dead"]},
        "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 1, "timeoutSeconds": 30});
    let container = and(sh("sleep 600"), json!({"readinessProbe": ready, "livenessProbe": alive}));
    make(cluster, "probed", "Always", container);
    shows(cluster, "probed", "/started", json!(true));
    eventually("the probe says what the command wrote", || {
        let events = cluster.run(&["events", "--for=pod/probed"]);
        let said = "Readiness probe failed: cat: /data/ready: No such file or directory";
        if events.contains(said) { Ok(()) } else { Err(events) }
    });
    cluster.run(&["exec", "probed", "--", "touch", "/data/ready"]);
    shows(cluster, "probed", "/ready", json!(true));
    cluster.run(&["exec", "probed", "--", "touch", "/data/dead"]);
    eventually("it is restarted", || {
        let shown = cluster.get(&["pod", "probed"]);
        let count = shown["status"]["containerStatuses"][0]["restartCount"].as_u64();
        // What ended it is still there, and does so again.
        if count.is_some_and(|count| count >= 1) { Ok(()) } else { Err(shown) }
    });
}

fn hooks_run_commands(cluster: &Cluster) {
    let stops = "echo stopping >> /data/log; until test -f /data/seen; do sleep 1; done";
    let hooks = json!({"postStart": {"exec": {"command": ["sh", "-c", "echo begun > /data/log"]}},
        "preStop": {"exec": {"command": ["sh", "-c", stops]}}});
    let container = and(sh("sleep 600"), json!({"lifecycle": hooks}));
    make(cluster, "hooked", "Always", container);
    shows(cluster, "hooked", "/ready", json!(true));
    assert_eq!(cluster.run(&["exec", "hooked", "--", "cat", "/data/log"]), "begun\n");
    let delete = ["delete", "pod", "hooked", "--grace-period=150"];
    let mut delete = cluster.kubectl_command(&delete).spawn().unwrap();
    eventually("preStop runs while the container does", || {
        let log = cluster.exec("hooked", "cat /data/log");
        if log.stdout == "begun\nstopping\n" { Ok(()) } else { Err(log) }
    });
    let _it_may_be_gone_before_it_answers = cluster.exec("hooked", "touch /data/seen");
    assert!(delete.wait().unwrap().success());
}

fn last_words(cluster: &Cluster) {
    make(cluster, "told", "Never", sh("echo noise; echo why > /dev/termination-log; exit 2"));
    shows(cluster, "told", "/state/terminated/message", json!("why\n"));
    make(cluster, "boom", "Never", sh("echo boom > /dev/termination-log; exit 1"));
    cluster.says("pod/boom", &["Message:  boom", "Exit Code:    1"]);
    let policy = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
    make(cluster, "logged", "Never", and(sh("echo first; echo last; exit 2"), policy));
    shows(cluster, "logged", "/state/terminated/message", json!("first\nlast\n"));
    let path = json!({"terminationMessagePath": "/data/why"});
    make(cluster, "placed", "Never", and(sh("echo there > /data/why"), path));
    shows(cluster, "placed", "/state/terminated/message", json!("there\n"));
}

/// *Source:* KEP-5307.
fn restart_rules(cluster: &Cluster) {
    let rules = json!({"restartPolicy": "Never", "restartPolicyRules": [
        {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]});
    let script = "test -f /data/again && exit 7; touch /data/again; exit 42";
    make(cluster, "ruled", "Never", and(sh(script), rules));
    let status = shows(cluster, "ruled", "/state/terminated/exitCode", json!(7));
    assert_eq!(status["restartCount"], 1, "{status}");
    assert_eq!(cluster.get(&["pod", "ruled"])["status"]["phase"], "Failed");
}

fn a_port_of_the_host(cluster: &Cluster) {
    let port = free_port();
    let ports = json!([{"containerPort": 8080, "hostPort": port}]);
    make(cluster, "outward", "Always", json!({"image": HELLO, "ports": ports}));
    eventually("the host's port answers", || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
    cluster.run(&["delete", "pod", "outward"]);
    eventually("the host's port is closed", || match get(port, "/") {
        Err(_) => Ok(()),
        Ok(answer) => Err(answer),
    });
}
