//! `coracle simulate`: what it tells of a service whose hosts die, the same for the same seed.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::{Command, Output};

use expect_test::{Expect, expect};

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: 'web:1', resources: {requests: {cpu: 600m}}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: shop}
spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}
---
apiVersion: example.com/v1
kind: Gadget
metadata: {name: mine, namespace: shop}
";

fn simulate(file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    command.arg("simulate").arg("-f").arg(file).args(more);
    command.env("CORACLE_DATA_DIR", file.parent().unwrap()).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What does not hang on how long each request takes and on names that are drawn: no seconds, and of a history its first
/// and last line.
fn told(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let words: Vec<String> = line.split(' ').map(plain).collect();
        let line = words.join(" ");
        let Some(change) = line.strip_prefix("  MM:SS  ").filter(|_| !line.contains("at once"))
        else {
            lines.push(line);
            continue;
        };
        if lines.last().is_some_and(|last| last.starts_with("  later")) {
            lines.pop();
        }
        lines.push(format!("  later    {change}"));
    }
    lines.join("\n") + "\n"
}

fn plain(word: &str) -> String {
    let bytes = word.as_bytes();
    let is_time = bytes.len() == 5 && bytes[2] == b':' && word != "00:00";
    match word {
        "00:00" => "at once".to_owned(),
        _ if is_time => "MM:SS".to_owned(),
        _ if word.starts_with("shop/web-") => "shop/web-…".to_owned(),
        _ => word.to_owned(),
    }
}

fn check(more: &[&str], expected: &Expect) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    std::fs::write(&file, SHOP).unwrap();
    let once = said(&simulate(&file, more));
    assert_eq!(once, said(&simulate(&file, more)), "the same seed told two stories");
    expected.assert_eq(&told(&once));
}

#[test]
fn the_story_of_a_service_whose_hosts_die() {
    let flags = ["--nodes", "4", "--kill-node", "25%", "--seed", "7", "--node-cpu", "1"];
    check(
        &flags,
        &expect![[r#"
            4 hosts with 1 CPUs, 16Gi of memory and room for 110 pods each; seed 7
            not part of the simulation:
              Gadget mine: left out, the simulation knows no such kind of example.com/v1
            before: 4 pods are ready on 4 hosts, 0 have no room
            1 of 4 hosts die: n1

            service shop/web
              at once  3 of 4 endpoints answer: 75 % of new connections
              later    3 of 3 endpoints answer: 100 % of new connections
            deployment shop/web
              at once  3 of 4 pods serve
            budget shop/web
              at once  4 healthy, 3 wanted: kept
              later    3 healthy, 3 wanted: kept
            ten minutes later: 3 pods are ready on 3 hosts, 1 have no room
              pod shop/web-… has no room: 0/4 nodes are available: 1 node(s) had untolerated taint(s), 3 Insufficient cpu. preemption: 0/4 nodes are available: 1 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod.

            in short:
              service shop/web: at worst 75 % of new connections are answered, fewer than all for MM:SS
              deployment shop/web: 3 pods at worst, too few for 10:00; 3 of 4 pods serve in the end
              budget shop/web: kept
        "#]],
    );
}

#[test]
fn what_cannot_be_simulated_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    std::fs::write(&file, "a: [").unwrap();
    let check = |more: &[&str], expected: &str| {
        let output = simulate(&file, more);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(expected), "{more:?}: {text}");
    };
    check(&[], "shop.yaml: document 1 is not YAML");
    check(&["--nodes", "0"], "must be a number from 1 to 1000");
    check(&["--kill-node", "some"], "must be a number of hosts such as 2, or a share such as 10%");
    check(&["--node-cpu", "much"], "--node-cpu");
}
