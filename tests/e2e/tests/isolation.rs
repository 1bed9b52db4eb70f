//! The same pods in the host's own process and in workers (`runtimeClassName: coracle-process`).
#![expect(clippy::unwrap_used, reason = "a test")]

use coracle_e2e::{Cluster, build_guests, eventually, get};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

const BEHAVE: &str = "registry.coracle.internal/behave:1";
const HELLO: &str = "registry.coracle.internal/hello:1";

/// A pod that serves, writes, and is looked into; with a Service. Nothing but `class` differs.
fn manifest(name: &str, class: Option<&str>, node_port: u16) -> String {
    let script = "echo begun $WHO > /data/f; cat /data/f; echo $(cat /config/key); sleep 600";
    let mut spec = json!({
        "terminationGracePeriodSeconds": 5,
        "containers": [
            {"name": "web", "image": HELLO, "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"port": 8080, "path": "/"}, "periodSeconds": 1},
                "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}},
            {"name": "tool", "image": BEHAVE, "command": ["sh", "-c", script],
                "env": [{"name": "WHO", "value": "you"}],
                "livenessProbe": {"exec": {"command": ["test", "-f", "/data/f"]},
                    "initialDelaySeconds": 1, "periodSeconds": 1, "timeoutSeconds": 30,
                    "failureThreshold": 30},
                "volumeMounts": [{"name": "data", "mountPath": "/data"},
                    {"name": "memory", "mountPath": "/memory"},
                    {"name": "config", "mountPath": "/config", "readOnly": true}]}],
        "volumes": [{"name": "data", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
            {"name": "config", "configMap": {"name": "config"}}]});
    if let Some(class) = class {
        spec["runtimeClassName"] = json!(class);
    }
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "NodePort", "selector": {"app": name},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": node_port}]}});
    format!("{pod}\n---\n{service}")
}

fn ready(cluster: &Cluster, name: &str) -> Value {
    eventually(&format!("{name} is ready"), || {
        let pod = cluster.get(&["pod", name]);
        let all = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let is_ready = all.len() == 2 && all.iter().all(|status| status["ready"] == true);
        if is_ready { Ok(pod) } else { Err((cluster.run(&["events"]), pod, cluster.logs())) }
    })
}

fn host(cluster: &Cluster) -> i32 {
    let pid = std::fs::read_to_string(cluster.data().join("host.lock")).unwrap();
    pid.trim().parse().unwrap()
}

/// The workers of the cluster's host.
fn workers(host: i32) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_child = status.lines().any(|line| line == format!("PPid:\t{host}"));
        (is_child && line.ends_with(b"\0worker\0")).then_some(pid)
    });
    processes.map(|pid| Pid::from_raw(pid).unwrap()).collect()
}

#[test]
fn a_pod_is_the_same_in_a_process_of_its_own() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("behave:1", &guests.join("behave.wasm"));
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    let class = cluster.get(&["runtimeclass", "coracle-process"]);
    assert_eq!(class["handler"], "coracle-process");
    cluster.run(&["create", "configmap", "config", "--from-literal=key=configured"]);
    let pods = [("shared", None), ("alone", Some("coracle-process"))];
    for (index, (name, class)) in pods.into_iter().enumerate() {
        cluster.apply(&manifest(name, class, cluster.node_port(index as u16)));
    }
    for (index, (name, _)) in pods.into_iter().enumerate() {
        ready(&cluster, name);
        behaves(&cluster, name, cluster.node_port(index as u16));
    }
    pods_reach_each_other(&cluster);
    assert_eq!(workers(host(&cluster)).len(), 1, "one pod asked for a worker");
    limits_hold(&cluster);
    a_killed_worker_is_a_restart(&cluster);
    workers_die_with_their_host(&cluster);
    a_stop_is_a_stop(&cluster);
    an_unknown_handler_is_told(&cluster);
}

fn behaves(cluster: &Cluster, name: &str, node_port: u16) {
    let tool = |command: &[&str]| {
        let all = [&["exec", name, "-c", "tool", "--"], command].concat();
        cluster.run(&all)
    };
    eventually("the log is written", || {
        let log = cluster.run(&["logs", name, "-c", "tool"]);
        if log == "begun you\nconfigured\n" { Ok(()) } else { Err(log) }
    });
    assert_eq!(tool(&["cat", "/data/f"]), "begun you\n", "{name}");
    assert_eq!(tool(&["sh", "-c", "echo more >> /data/f; wc -l < /data/f"]).trim(), "2");
    assert_eq!(tool(&["sh", "-c", "echo $WHO"]), "you\n", "{name}");
    let typed = [&["exec", "-i", name, "-c", "tool", "--"][..], &["cat"]].concat();
    assert_eq!(cluster.kubectl_with(&typed, "typed\n").stdout, "typed\n", "{name}");
    let failed = cluster.kubectl(&["exec", name, "-c", "tool", "--", "sh", "-c", "exit 3"]);
    assert!(failed.stderr.contains("exit code 3"), "{failed:?}");
    // Over the limit of one on disk the pod would be evicted.
    let fill = "cd /memory; echo 0123456789abcdef > a; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 \
                17 18 19 20; do cat a a > b || exit 7; mv b a; done";
    let full = cluster.kubectl(&["exec", name, "-c", "tool", "--", "sh", "-c", fill]);
    assert!(full.stderr.contains("exit code 7"), "{name}: over the volume's limit: {full:?}");
    tool(&["rm", "/memory/a", "/memory/b"]);
    let refused = cluster.kubectl(&["exec", name, "-c", "tool", "--", "touch", "/config/new"]);
    assert!(!refused.ok, "{refused:?}");
    assert!(!tool(&["wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]).is_empty(), "{name}");
    eventually("the Service answers", || match get(node_port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
}

fn pods_reach_each_other(cluster: &Cluster) {
    for (from, to) in [("shared", "alone"), ("alone", "shared"), ("alone", "alone")] {
        let url = format!("http://{to}.default.svc.cluster.local/");
        let get = ["exec", from, "-c", "tool", "--", "wget", "-q", "-O", "-", &url];
        eventually(&format!("{from} reaches {to}"), || {
            let answer = cluster.kubectl(&get);
            if answer.ok && !answer.stdout.is_empty() { Ok(()) } else { Err(answer) }
        });
    }
}

fn limits_hold(cluster: &Cluster) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy"},
        "spec": {"runtimeClassName": "coracle-process", "restartPolicy": "Never",
            "containers": [{"name": "c", "image": BEHAVE, "args": ["allocate", "64"],
                "resources": {"limits": {"memory": "16Mi"}}}]}});
    cluster.apply(&pod.to_string());
    let ended = eventually("the pod has ended", || {
        let pod = cluster.get(&["pod", "greedy"]);
        let ended = pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();
        if ended.is_null() { Err((pod, cluster.logs())) } else { Ok(ended) }
    });
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(137), &json!("OOMKilled")));
    cluster.run(&["delete", "pod", "greedy"]);
}

fn restarts(pod: &Value) -> Vec<i64> {
    let all = pod["status"]["containerStatuses"].as_array().unwrap();
    all.iter().map(|status| status["restartCount"].as_i64().unwrap()).collect()
}

fn a_killed_worker_is_a_restart(cluster: &Cluster) {
    let before = host(cluster);
    for worker in workers(before) {
        // That of the pod before may be gone already.
        let _ = kill_process(worker, Signal::KILL);
    }
    eventually("both containers are restarted", || {
        let pod = cluster.get(&["pod", "alone"]);
        if restarts(&pod) == [1, 1] { Ok(()) } else { Err((pod, cluster.logs())) }
    });
    let pod = ready(cluster, "alone");
    for status in pod["status"]["containerStatuses"].as_array().unwrap() {
        let last = &status["lastState"]["terminated"];
        assert_eq!((&last["exitCode"], &last["reason"]), (&json!(137), &json!("Error")), "{pod}");
    }
    behaves_again(cluster);
    assert_eq!(restarts(&cluster.get(&["pod", "shared"])), [0, 0], "nobody else is hit");
    assert_eq!(host(cluster), before, "the host goes on");
}

fn behaves_again(cluster: &Cluster) {
    eventually("the Service answers again", || match get(cluster.node_port(1), "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
}

fn workers_die_with_their_host(cluster: &Cluster) {
    let all = eventually("one worker is left", || {
        let all = workers(host(cluster));
        if all.len() == 1 { Ok(all) } else { Err(all) }
    });
    cluster.kill_host();
    for worker in all {
        eventually("the worker is gone", || match test_kill_process(worker) {
            Err(_) => Ok(()),
            Ok(()) => Err(worker),
        });
    }
    eventually("the pod is back after its host", || {
        let pod = cluster.get(&["pod", "alone"]);
        if restarts(&pod) == [2, 2] { Ok(()) } else { Err((pod, cluster.logs())) }
    });
    ready(cluster, "alone");
    behaves_again(cluster);
}

fn a_stop_is_a_stop(cluster: &Cluster) {
    cluster.run(&["delete", "pod", "alone", "--timeout=180s"]);
    eventually("its worker is gone", || {
        let left = workers(host(cluster));
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

fn an_unknown_handler_is_told(cluster: &Cluster) {
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": {"name": "odd"}, "handler": "gvisor"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd"},
        "spec": {"runtimeClassName": "odd", "containers": [{"name": "c", "image": HELLO}]}});
    cluster.apply(&format!("{class}\n---\n{pod}"));
    eventually("the event says what is missing", || {
        let events = cluster.run(&["events", "--for=pod/odd"]);
        let said = "no runtime for \"gvisor\" is configured";
        if events.contains("FailedCreatePodSandBox") && events.contains(said) {
            Ok(())
        } else {
            Err(events)
        }
    });
    let pod = cluster.get(&["pod", "odd"]);
    assert_eq!(pod["status"]["phase"], "Pending");
}
