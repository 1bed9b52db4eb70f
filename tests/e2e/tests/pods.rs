//! What a pod sees, and what a user sees of it: logs, restarts, init containers, node name.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader};

use coracle_e2e::{Cluster, build_guests, eventually, get};
use serde_json::{Value, json};

const IMAGE: &str = "registry.coracle.internal/behave:1";

fn cluster() -> Cluster {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("behave:1", &guests.join("behave.wasm"));
    cluster.push("http-behave:1", &guests.join("http_behave.wasm"));
    cluster
}

fn pod(name: &str, spec: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn container(args: &[&str]) -> Value {
    json!({"name": "c", "image": IMAGE, "args": args})
}

fn column(cluster: &Cluster, name: &str, index: usize) -> String {
    let row = cluster.run(&["get", "pod", name, "--no-headers"]);
    row.split_whitespace().nth(index).unwrap().to_owned()
}

#[test]
fn logs_in_every_form() {
    let cluster = cluster();
    cluster.apply(&pod(
        "flood",
        &json!({"restartPolicy": "Never", "containers": [container(&["flood", "100"])]}),
    ));
    eventually("it is Completed", || {
        let status = column(&cluster, "flood", 2);
        if status == "Completed" { Ok(()) } else { Err(status) }
    });
    let all = cluster.run(&["logs", "flood"]);
    assert_eq!((all.lines().count(), all.lines().next()), (100, Some("line 0")));
    assert_eq!(cluster.run(&["logs", "flood", "--tail=2"]), "line 98\nline 99\n");
    assert_eq!(cluster.run(&["logs", "flood", "-c", "c", "--since=1h", "--tail=1"]), "line 99\n");
    let stamped = cluster.run(&["logs", "flood", "--timestamps", "--tail=1"]);
    assert!(stamped.contains('T') && stamped.ends_with("Z line 99\n"), "{stamped}");
    let missing = cluster.kubectl(&["logs", "flood", "-c", "nosuch"]);
    assert!(missing.stderr.contains("container nosuch is not valid for pod flood"), "{missing:?}");
    follow(&cluster);
    previous(&cluster);
}

fn follow(cluster: &Cluster) {
    let port = cluster.node_port(0);
    let spec = json!({"containers": [{"name": "c", "image": "registry.coracle.internal/http-behave:1",
        "ports": [{"containerPort": 8080}]}]});
    let mut manifest: Value = serde_json::from_str(&pod("talker", &spec)).unwrap();
    manifest["metadata"]["labels"] = json!({"app": "talker"});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "talker"}, "spec": {"type": "NodePort",
        "selector": {"app": "talker"}, "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]}});
    cluster.apply(
        &json!({"apiVersion": "v1", "kind": "List", "items": [manifest, service]}).to_string(),
    );
    eventually("it logs", || match get(port, "/log?first") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
    let mut logs = cluster.kubectl_command(&["logs", "-f", "talker"]).spawn().unwrap();
    let mut lines = BufReader::new(logs.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    get(port, "/log?second").unwrap();
    // It may have been asked for the first more than once.
    let second = lines.map(Result::unwrap).find(|line| line != "first");
    assert_eq!(second.as_deref(), Some("second"));
    logs.kill().unwrap();
    logs.wait().unwrap();
}

fn previous(cluster: &Cluster) {
    cluster.apply(&pod("loops", &json!({"containers": [container(&["exit", "3"])]})));
    eventually("it backs off", || {
        let status = column(cluster, "loops", 2);
        if status == "CrashLoopBackOff" { Ok(()) } else { Err(status) }
    });
    let waits = "/status/containerStatuses/0/state/waiting/reason";
    let pod = cluster.shows("pod/loops", waits, "CrashLoopBackOff");
    let status = &pod["status"]["containerStatuses"][0];
    let message = status["state"]["waiting"]["message"].as_str().unwrap();
    // Which of its waits this is depends on when one looks.
    let known = ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s"]
        .map(|time| message.starts_with(&format!("back-off {time} restarting failed container=c")));
    assert!(known.contains(&true), "{message}");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    eventually("what it said before is kept", || {
        let before = cluster.kubectl(&["logs", "loops", "--previous"]);
        if before.ok { Ok(()) } else { Err(before) }
    });
    cluster.says("pod/loops", &["Exit Code:    3", "BackOff"]);
}

#[test]
fn init_containers_node_name_and_configuration() {
    let cluster = cluster();
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let mut main = container(&["environment"]);
    main["env"] = json!([
        {"name": "PLAIN", "value": "one"},
        {"name": "EXPANDED", "value": "$(PLAIN) two"},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
    ]);
    main["resources"] = json!({"limits": {"memory": "32Mi"}});
    let mut init = container(&["print", "first"]);
    init["name"] = json!("init");
    let spec = json!({"nodeName": node, "restartPolicy": "Never", "initContainers": [init], "containers": [main]});
    cluster.apply(&pod("configured", &spec));
    cluster.run(&[
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "pod/configured",
        "--timeout=180s",
    ]);
    assert_eq!(cluster.run(&["logs", "configured", "-c", "init"]), "first\n");
    let printed = cluster.run(&["logs", "configured"]);
    let ip = cluster.run(&["get", "pod", "configured", "-o", "jsonpath={.status.podIP}"]);
    for part in [
        "(\"PLAIN\", \"one\")",
        "(\"EXPANDED\", \"one two\")",
        &format!("(\"IP\", \"{ip}\")"),
        "(\"LIMIT\", \"33554432\")",
        "(\"HOSTNAME\", \"configured\")",
        "(\"KUBERNETES_SERVICE_HOST\", \"10.96.0.1\")",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[test]
fn a_pod_that_fits_nowhere_says_what_lacks() {
    let cluster = cluster();
    let mut greedy = container(&["return"]);
    greedy["resources"] = json!({"requests": {"cpu": "1000", "memory": "900Ti"}});
    cluster.apply(&pod("greedy", &json!({"containers": [greedy]})));
    eventually("FailedScheduling names each lack", || {
        let described = cluster.run(&["describe", "pod", "greedy"]);
        let named = [
            "FailedScheduling",
            "0/1 nodes are available",
            "1 Insufficient cpu",
            "1 Insufficient memory",
        ];
        if named.iter().all(|part| described.contains(part)) { Ok(()) } else { Err(described) }
    });
    assert_eq!(column(&cluster, "greedy", 2), "Pending");
    let selector = json!({"nodeSelector": {"disk": "ssd"}, "restartPolicy": "Never", "containers": [container(&["return"])]});
    cluster.apply(&pod("picky", &selector));
    eventually("the selector is named", || {
        let described = cluster.run(&["describe", "pod", "picky"]);
        if described.contains("didn't match Pod's node affinity/selector") {
            Ok(())
        } else {
            Err(described)
        }
    });
    cluster.run(&["label", "node", "--all", "disk=ssd"]);
    cluster.run(&[
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "pod/picky",
        "--timeout=180s",
    ]);
}
