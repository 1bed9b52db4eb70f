//! What people do on their first day: one command makes a service, one file makes an application, and both look after
//! themselves, on one host and on two; and who looks afterwards for what answered a request.
#![expect(clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;

use coracle_e2e::{Cluster, HELLO, HTTP, Machines, build_guests, container, eventually, sh};
use serde_json::{Value, json};

/// An audit log of whatever is changed.
const AUDIT: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [
    {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"]}, {"level": "None"}]}"#;

fn object(version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut made = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    if let (Some(made), Value::Object(rest)) = (made.as_object_mut(), rest) {
        made.extend(rest);
    }
    made
}

/// An application of ten kinds, in one file: its job reads what a ConfigMap and a Secret hold, and asks its web server
/// through a Service.
fn application() -> Value {
    let labels = json!({"app": "shop"});
    let web = container("web", HELLO, &json!({"ports": [{"containerPort": 8080}]}));
    let reads = sh(
        "report",
        "until said=$(wget -q -O - http://shop); do sleep 1; done
        echo $(cat /etc/shop/motto) $PASSWORD $said",
        &json!({"env": [{"name": "PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": "shop", "key": "password"}}}],
            "volumeMounts": [{"name": "config", "mountPath": "/etc/shop"}]}),
    );
    let job = json!({"restartPolicy": "Never", "serviceAccountName": "shop",
        "volumes": [{"name": "config", "configMap": {"name": "shop"}}], "containers": [reads]});
    let group = "rbac.authorization.k8s.io";
    json!({"apiVersion": "v1", "kind": "List", "items": [
        object("v1", "ConfigMap", "shop", json!({"data": {"motto": "buy"}})),
        object("v1", "Secret", "shop", json!({"stringData": {"password": "low"}})),
        object("v1", "ServiceAccount", "shop", json!({})),
        object("rbac.authorization.k8s.io/v1", "Role", "shop",
            json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]})),
        object("rbac.authorization.k8s.io/v1", "RoleBinding", "shop",
            json!({"roleRef": {"apiGroup": group, "kind": "Role", "name": "shop"},
                "subjects": [{"kind": "ServiceAccount", "name": "shop"}]})),
        object("v1", "Service", "shop",
            json!({"spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}})),
        object("apps/v1", "Deployment", "shop",
            json!({"spec": {"replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [web]}}}})),
        object("policy/v1", "PodDisruptionBudget", "shop",
            json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": labels}}})),
        object("networking.k8s.io/v1", "NetworkPolicy", "shop",
            json!({"spec": {"podSelector": {"matchLabels": labels},
                "ingress": [{"ports": [{"port": 8080}]}]}})),
        object("batch/v1", "Job", "shop",
            json!({"spec": {"backoffLimit": 20, "template": {"spec": job}}})),
    ]})
}

/// Rows `ux.new-service` and `ux.many-parts`.
#[test]
fn one_command_makes_a_service_and_one_file_an_application() {
    let cluster = Cluster::start();
    cluster.push_guests(&build_guests("tests/guests"));
    cluster.run(&["run", "web", &format!("--image={HELLO}"), "--port=8080", "--expose"]);
    eventually("the new service answers", || {
        let path = "/api/v1/namespaces/default/services/web:8080/proxy/";
        let answer = cluster.kubectl(&["get", "--raw", path]);
        if answer.stdout.contains("hello") { Ok(()) } else { Err(answer) }
    });
    let file = cluster.folder().join("shop.json");
    std::fs::write(&file, application().to_string()).expect("a file");
    let made = cluster.run(&["apply", "-f", &file.display().to_string()]);
    assert_eq!(made.lines().filter(|line| line.ends_with(" created")).count(), 10, "{made}");
    cluster.run(&["wait", "--for=condition=complete", "job/shop", "--timeout=180s"]);
    let said = cluster.run(&["logs", "job/shop"]);
    assert!(said.contains("buy low hello"), "{said}");
    let gone = cluster.run(&["delete", "-f", &file.display().to_string(), "--wait=false"]);
    assert_eq!(gone.lines().count(), 10, "{gone}");
}

/// Row `ux.auto-run`: what is killed comes back; what has no room says what lacks, and runs when a host is added. Then
/// row `obs.forensics`, on the two hosts that there are.
#[test]
fn it_runs_by_itself_as_long_as_there_is_room() {
    let files = tempfile::tempdir().expect("a folder");
    let [policy, audit] = ["policy.json", "audit.log"].map(|name| files.path().join(name));
    std::fs::write(&policy, AUDIT).expect("a file");
    let flags = [("--audit-policy-file", &policy), ("--audit-log-path", &audit)];
    let flags = flags.map(|(flag, path)| format!("{flag}={}", path.display()));
    let mut machines = Machines::start_flags(3, &flags.each_ref().map(String::as_str));
    let behave = build_guests("tests/guests").join("http_behave.wasm");
    let pushed = machines.coracle(&["push", "http-behave:1", &behave.display().to_string()]);
    assert!(pushed.ok, "{pushed:?}");
    let mut words = machines.token();
    words.push("--max-pods=2".to_owned());
    machines.start_host(1, &words);
    machines.wait_ready(1);
    machines.run(&["create", "deployment", "web", &format!("--image={HTTP}"), "--replicas=3"]);
    let ready = |machines: &Machines, wanted: u64| {
        eventually(&format!("{wanted} are ready"), || {
            let web = machines.get(&["deployment", "web"]);
            let found = web["status"]["readyReplicas"].as_u64().unwrap_or(0);
            if found == wanted { Ok(()) } else { Err((web["status"].clone(), machines.logs())) }
        });
    };
    ready(&machines, 2);
    eventually("the third says what lacks", || {
        let told = machines.run(&["get", "events", "--field-selector=reason=FailedScheduling"]);
        if told.contains("Too many pods") { Ok(()) } else { Err(told) }
    });
    let pods = machines.get(&["pods", "--field-selector=spec.nodeName!="]);
    let first = pods["items"][0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    machines.run(&["delete", "pod", &first, "--wait=false"]);
    ready(&machines, 2);
    machines.start_host(2, &words);
    ready(&machines, 3);
    eventually("what was deleted is gone", || {
        let there = machines.kubectl(&["get", "pod", &first]);
        if there.ok { Err(there) } else { Ok(()) }
    });
    requests_are_found_by_their_ids(&machines, &audit);
}

/// Asks the way in of the first host for a path, as the request with this id; gives head and body.
fn ask(machines: &Machines, id: &str, path: &str) -> Result<String, String> {
    let url = format!("http://{}{path}", machines.address(1));
    let header = format!("x-request-id: {id}");
    let output = machines.program(0, &["curl", "-sS", "-i", "-m", "20", "-H", &header, &url]);
    let is_fine = output.ok && output.stdout.starts_with("HTTP/1.1 200");
    if is_fine { Ok(output.stdout) } else { Err(format!("{output:?}")) }
}

/// What `coracle trace` knows of a request, once that has so many requests by pods, with their lines and events, which
/// are written after the answer.
fn traced(machines: &Machines, id: &str, audit: &Path, pods: usize) -> Value {
    eventually(&format!("{id} is known"), || {
        let audit = audit.display().to_string();
        let output = machines.coracle(&["trace", id, "-o", "json", "--audit-log", &audit]);
        let told: Value =
            serde_json::from_str(&output.stdout).map_err(|_| format!("{output:?}"))?;
        let by_pods = requests(&told).filter(|(_, one)| one["by"]["container"].is_object());
        let is_written = |one: &Value| one["seen"]["path"] != "/log" || one["lines"][0].is_string();
        let written = by_pods.filter(|(_, one)| is_written(one)).count();
        let mut stories = told["pods"].as_array().into_iter().flatten();
        let is_told = stories.all(|pod| {
            let audited = pod["audited"].to_string();
            pod["objects"][0]["events"][0].is_string() && audited.contains("deployments/web")
        });
        let came_in = requests(&told).any(|(_, one)| one["by"] == "wayIn");
        let all = output.ok && came_in && written == pods && is_told;
        if all { Ok(told) } else { Err(told.to_string()) }
    })
}

/// The requests that are known, each with its node.
fn requests(told: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let hosts = told["hosts"].as_array().into_iter().flatten();
    hosts.flat_map(|host| {
        let node = host["node"].as_str().unwrap_or_default();
        host["requests"].as_array().into_iter().flatten().map(move |one| (node, one))
    })
}

/// Row `obs.forensics`: by its id a request is found at the way in and on whichever host answered it, with pod, image
/// digest, lines, and who deployed that.
fn requests_are_found_by_their_ids(machines: &Machines, audit: &Path) {
    machines.run(&["annotate", "deployment", "web", "kubernetes.io/change-cause=sale"]);
    machines.run(&["expose", "deployment", "web", "--port=80"]);
    machines.run(&["create", "ingress", "web", "--rule=/*=web:80"]);
    eventually("the way in leads to the pods", || ask(machines, "first", "/header?host"));
    let (mut nodes, mut number) = (BTreeSet::new(), 0);
    eventually("pods of both hosts have answered", || {
        number += 1;
        let id = format!("order-{number}");
        let answer = ask(machines, &id, &format!("/log?sold-{number}"))?;
        assert!(answer.contains(&format!("x-request-id: {id}\r\n")), "{answer}");
        let told = traced(machines, &id, audit, 1);
        nodes.insert(it_tells_everything(&told, &format!("sold-{number}")));
        if nodes.len() == 2 { Ok(()) } else { Err(format!("{nodes:?}")) }
    });
    // What a pod asks of others meanwhile has the same id, and they see it.
    let chain = "/call?web.default.svc.cluster.local/header?x-request-id";
    let mut number = 0;
    let chained = eventually("a pod calls another", || {
        number += 1;
        let id = format!("chain-{number}");
        let answer = ask(machines, &id, chain)?;
        if answer.ends_with(&format!("200 {id}")) { Ok(id) } else { Err(answer) }
    });
    traced(machines, &chained, audit, 2);
    // What cannot be read hides nothing of the rest.
    let told = machines.coracle(&["trace", &chained, "--audit-log", "/no/such/log"]);
    assert!(told.ok && told.stdout.contains("object     Deployment web"), "{told:?}");
    assert!(told.stderr.contains("open the audit log /no/such/log"), "{told:?}");
    let unknown = machines.coracle(&["trace", "nobody"]);
    assert!(!unknown.ok && unknown.stdout.is_empty(), "{unknown:?}");
    assert!(unknown.stderr.contains("no host knows a request nobody"), "{unknown:?}");
    let how_long = format!("node {} keeps the last 8192 requests", machines.node(2));
    assert!(unknown.stderr.contains(&how_long), "{unknown:?}");
    let path = format!("/api/v1/nodes/{}/proxy/requests?id=first", machines.node(1));
    let refused = machines.kubectl(&["get", "--raw", &path, "--as=somebody"]);
    assert!(!refused.ok && refused.stderr.contains("Forbidden"), "{refused:?}");
}

/// Checks all that is told of one request, and gives the node whose pod answered.
fn it_tells_everything(told: &Value, line: &str) -> String {
    let of = |way: &str| {
        let mut found =
            requests(told).filter(|(_, one)| one["by"] == way || one["by"][way].is_object());
        found.next().unwrap_or_else(|| panic!("{way}: {told}"))
    };
    let ((_, door), (node, answered)) = (of("wayIn"), of("container"));
    assert_eq!(door["seen"]["rule"], "Ingress default/web", "{told}");
    assert!(door["seen"]["backend"].is_string(), "{told}");
    let by = &answered["by"]["container"];
    assert!(by["imageID"].as_str().is_some_and(|id| id.contains("http-behave@sha256:")), "{told}");
    assert_eq!(
        (&by["owner"]["kind"], &by["container"]),
        (&json!("ReplicaSet"), &json!("http-behave"))
    );
    assert_eq!(
        (&answered["seen"]["status"], &answered["seen"]["path"]),
        (&json!(200), &json!("/log"))
    );
    let lines = answered["lines"].as_array().expect("lines");
    assert!(
        lines.len() == 1 && lines[0].as_str().is_some_and(|said| said.ends_with(line)),
        "{told}"
    );
    let story = &told["pods"][0];
    assert_eq!(
        story["pod"].as_str(),
        by["pod"].as_str().map(|pod| format!("default/{pod}")).as_deref()
    );
    let objects: Vec<_> = story["objects"].as_array().into_iter().flatten().collect();
    let deployment = objects.last().expect("what made the pod");
    assert_eq!(deployment["object"], "Deployment web", "{told}");
    let text = |value: &Value| value.to_string();
    assert!(text(&deployment["written"]).contains("kubectl-create (Update)"), "{told}");
    assert!(text(&deployment["notes"]).contains("kubernetes.io/change-cause: sale"), "{told}");
    let mut audited = story["audited"].as_array().into_iter().flatten().map(text);
    let is_who =
        |line: &String| line.contains(" patch deployments/web") && line.contains(" by kubectl");
    assert!(audited.any(|line| is_who(&line)), "{told}");
    node.to_owned()
}
