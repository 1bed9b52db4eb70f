//! The client verbs of the binary itself, beside kubectl on the same cluster.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use coracle_e2e::{Cluster, HELLO, build_guests, container, coracle, eventually, get, sh};
use serde_json::{Value, json};

/// A Deployment whose pods serve HTTP and have a side-car that writes two lines.
fn manifest() -> String {
    let web = container("web", HELLO, &json!({"ports": [{"name": "http", "containerPort": 8080}]}));
    let talk = sh("talk", "echo one; echo two; sleep 1000", &json!({}));
    let template = json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [web, talk], "terminationGracePeriodSeconds": 1}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    format!("{deployment}\n---\n{service}\n")
}

/// Runs a verb, which has to succeed, and gives what it printed.
fn ours(cluster: &Cluster, command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let output = cluster.coracle(&words);
    assert!(output.ok, "coracle {command}: {output:?}\n{}", cluster.logs());
    output.stdout
}

/// Both clients print the same, but for ages.
fn same(cluster: &Cluster, command: &str) {
    let without_ages = |text: &str| {
        let age = |word: &&str| {
            let digits = word.trim_end_matches(['s', 'm', 'h', 'd']);
            digits.len() < word.len() && digits.parse::<u32>().is_ok()
        };
        let line = |line: &str| {
            let words = line.split_whitespace().filter(|word| !age(word));
            words.collect::<Vec<_>>().join(" ")
        };
        text.lines().map(line).collect::<Vec<_>>()
    };
    // What they print may change between the two.
    eventually(command, || {
        let words: Vec<&str> = command.split(' ').collect();
        let (own, theirs) = (ours(cluster, command), cluster.run(&words));
        if without_ages(&own) == without_ages(&theirs) { Ok(()) } else { Err((own, theirs)) }
    });
}

#[test]
fn a_cluster_is_used_without_kubectl() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    let file = cluster.folder().join("web.yaml");
    std::fs::write(&file, manifest()).unwrap();
    let file = file.to_str().unwrap();

    let applied = ours(&cluster, &format!("apply -f {file}"));
    assert_eq!(applied, "service/web created\ndeployment.apps/web created\n");
    let applied = ours(&cluster, &format!("apply -f {file}"));
    assert_eq!(applied, "service/web unchanged\ndeployment.apps/web unchanged\n");
    let told = ours(&cluster, "rollout status deploy/web --timeout 180s");
    assert!(told.ends_with("deployment \"web\" successfully rolled out\n"), "{told}");
    looking(&cluster);
    reaching(&cluster);
    steering(&cluster);
    deleting(&cluster, file);
}

fn looking(cluster: &Cluster) {
    for command in [
        "get deploy",
        "get deployment/web -o wide",
        "get deploy,svc",
        "get pods -l app=web --show-labels",
        "get svc -A",
        "get ns --no-headers",
        "get pods -o name",
        "get deploy web -o json",
        "get pods -o jsonpath={.items[*].spec.containers[*].name}",
    ] {
        same(cluster, command);
    }
    let yaml = ours(cluster, "get svc web -o yaml");
    let read =
        cluster.kubectl_with(&["create", "--dry-run=client", "-o", "json", "-f", "-"], &yaml);
    let (mut read, mut there): (Value, _) =
        (serde_json::from_str(&read.stdout).unwrap(), cluster.get(&["svc", "web"]));
    // kubectl writes what it read into the annotation.
    read["metadata"]["annotations"].take();
    there["metadata"]["annotations"].take();
    assert_eq!(read, there, "{yaml}");
    let missing = cluster.coracle(&["get", "pod", "nosuch"]);
    assert!(!missing.ok && missing.stderr.contains("pods \"nosuch\" not found"), "{missing:?}");
    let none = cluster.coracle(&["get", "jobs"]);
    assert_eq!(none.stderr, "No resources found in default namespace.\n");
    // Events are told beside the work, so they come when they come.
    let says = |command: &str, parts: &[&str]| {
        eventually(command, || {
            let said = ours(cluster, command);
            if parts.iter().all(|part| said.contains(part)) { Ok(()) } else { Err(said) }
        });
    };
    let parts = ["Name:          web", "Labels:        app=web", "Replicas:", "ScalingReplicaSet"];
    says("describe deploy web", &parts);
    says("events --for deploy/web", &["ScalingReplicaSet", "deployment/web"]);
    let page = ours(cluster, "explain deployment.spec.template.spec.containers");
    for part in ["GROUP:      apps", "FIELD: containers <[]Container>", "  image\t<string>"] {
        assert!(page.contains(part), "'{part}' is not in {page}");
    }
    eventually("what pods use is known", || {
        let output = cluster.coracle(&["top", "pod", "-l", "app=web", "--containers"]);
        let whole = output.ok && output.stdout.matches("Mi").count() == 4;
        if whole { Ok(()) } else { Err(output) }
    });
}

fn reaching(cluster: &Cluster) {
    // Containers run before they have said anything.
    eventually("both pods have said all", || {
        let all = ours(cluster, "logs -l app=web -c talk");
        let each = ["/talk one", "/talk two"].map(|line| all.matches(line).count());
        if each == [2, 2] { Ok(()) } else { Err(all) }
    });
    assert_eq!(ours(cluster, "logs deploy/web -c talk"), "one\ntwo\n");
    assert_eq!(ours(cluster, "logs deploy/web -c talk --tail 1"), "two\n");
    let run = |script: &str| {
        cluster.coracle(&["exec", "deploy/web", "-c", "talk", "--", "sh", "-c", script])
    };
    assert_eq!(run("echo out; echo err >&2").stdout, "out\n");
    assert_eq!(run("echo err >&2").stderr, "err\n");
    let mut command = Command::new(coracle());
    command.args(["exec", "deploy/web", "-c", "talk", "--", "sh", "-c", "exit 7"]);
    let status = command.env("KUBECONFIG", cluster.kubeconfig()).status().unwrap();
    assert_eq!(status.code(), Some(7));
    piped(cluster);
    forwarded(cluster);
}

/// Standard input reaches the command, and its end too.
fn piped(cluster: &Cluster) {
    let mut child = Command::new(coracle())
        .args(["exec", "-i", "deploy/web", "-c", "talk", "--", "cat"])
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"through and back").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"through and back");
}

fn forwarded(cluster: &Cluster) {
    let mut child = Command::new(coracle())
        .args(["port-forward", "svc/web", ":80"])
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port =
        line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next());
    let answer = get(port.unwrap().parse().unwrap(), "/");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answer.unwrap().body, "hello\n", "{line}");
}

fn steering(cluster: &Cluster) {
    assert_eq!(ours(cluster, "scale deploy/web --replicas 1"), "deployment.apps/web scaled\n");
    let met = ours(cluster, "wait deploy/web --for jsonpath={.status.replicas}=1 --timeout 180s");
    assert_eq!(met, "deployment.apps/web condition met\n");
    assert_eq!(ours(cluster, "rollout restart deploy/web"), "deployment.apps/web restarted\n");
    ours(cluster, "rollout status deploy/web --timeout 180s");
    let history = ours(cluster, "rollout history deploy/web");
    assert_eq!(history.lines().count(), 4, "{history}");
    assert_eq!(ours(cluster, "rollout undo deploy/web"), "deployment.apps/web rolled back\n");
    ours(cluster, "rollout status deploy/web --timeout 180s");
    let annotations =
        &cluster.get(&["deploy", "web"])["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations.is_null(), "the restart is undone: {annotations}");
    assert_eq!(ours(cluster, "rollout pause deploy/web"), "deployment.apps/web paused\n");
    let undone = cluster.coracle(&["rollout", "undo", "deploy/web"]);
    assert!(!undone.ok && undone.stderr.contains("paused: resume it first"), "{undone:?}");
    assert_eq!(ours(cluster, "rollout resume deploy/web"), "deployment.apps/web resumed\n");
    // A pod that is just ending is never Ready again.
    eventually("one pod is left", || {
        let pods = ours(cluster, "get pods -l app=web -o name");
        if pods.lines().count() == 1 { Ok(()) } else { Err(pods) }
    });
    ours(cluster, "wait pod -l app=web --for condition=Ready --timeout 180s");
}

fn deleting(cluster: &Cluster, file: &str) {
    let kept = cluster.coracle(&["delete", "pods"]);
    assert!(!kept.ok && kept.stderr.contains("--all"), "{kept:?}");
    let deleted = ours(cluster, &format!("delete -f {file} --cascade foreground"));
    assert_eq!(deleted, "deployment.apps/web deleted\nservice/web deleted\n");
    assert_eq!(ours(cluster, "get deploy,svc,pods -l app=web -o name"), "");
    ours(cluster, "delete deploy web --ignore-not-found");
}
