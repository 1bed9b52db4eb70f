//! Hosts that come and go, on a model's clock.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::{Action, Hook, HostHooks, Memory, Observed, reconcile};
use crate::objects::name;

fn at(minute: u32) -> Timestamp {
    format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap()
}

fn node(name: &str, change: Value) -> Arc<Node> {
    let mut object = json!({"metadata": {"name": name}, "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True"}]}});
    for (field, value) in change.as_object().into_iter().flatten() {
        for (inner, value) in value.as_object().into_iter().flatten() {
            object[field][inner] = value.clone();
        }
    }
    Arc::new(serde_json::from_value(object).unwrap())
}

/// `name node cpu flags`: flags b(are), e(mptyDir), s(afe), d(aemon), g(oing).
fn pod(text: &str) -> Arc<Pod> {
    let words: Vec<&str> = text.split(' ').collect();
    let flags = words.get(3).copied().unwrap_or_default();
    let kind = if flags.contains('d') { "DaemonSet" } else { "ReplicaSet" };
    let mut pod = json!({"metadata": {"name": words[0], "namespace": "default", "labels": {"app": "web"}},
        "spec": {"nodeName": words[1], "containers": [
            {"name": "c", "resources": {"requests": {"cpu": words[2]}}}]}});
    if !flags.contains('b') {
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": kind,
            "name": "web", "uid": "u", "controller": true}]);
    }
    if flags.contains('e') {
        pod["spec"]["volumes"] = json!([{"name": "d", "emptyDir": {}}]);
    }
    if flags.contains('s') {
        pod["metadata"]["annotations"] = json!({super::SAFE: "true"});
    }
    if flags.contains('g') {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn refused(name: &str, since: u32) -> Arc<Pod> {
    let mut refused = Pod::clone(&pod(&format!("{name}  1")));
    let condition = json!({"conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "lastTransitionTime": at(since)}]});
    refused.status = Some(serde_json::from_value(condition).unwrap());
    Arc::new(refused)
}

fn observed(nodes: Vec<Arc<Node>>, pods: &[&str]) -> Observed {
    let hooks = HostHooks {
        add: Some(Hook::Program("/bin/add".into())),
        remove: Some(Hook::Program("/bin/remove".into())),
        ..HostHooks::default()
    };
    let pods = pods.iter().map(|text| pod(text)).collect();
    Observed { nodes, pods, hooks, ..Observed::default() }
}

fn words(actions: &[Action]) -> String {
    let node = |node: &Node| name(&node.metadata).to_owned();
    let one = |action: &Action| match action {
        Action::AddHost(pods) => Some(format!("add for {}", pods.len())),
        Action::Mark(marked) => Some(format!("mark {}", node(marked))),
        Action::Unmark(marked) => Some(format!("unmark {}", node(marked))),
        Action::Evict(pod) => Some(format!("evict {}", name(&pod.metadata))),
        Action::RemoveHost(gone) => Some(format!("remove {}", node(gone))),
        Action::Remember(_) => None,
    };
    actions.iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

/// Looks at each of some minutes, and gives what was done at the last.
fn over(observed: &mut Observed, minutes: &[u32]) -> String {
    let mut said = String::new();
    for minute in minutes {
        let actions = reconcile(observed, at(*minute));
        for action in &actions {
            if let Action::Remember(memory) = action {
                observed.memory = memory.clone();
            }
        }
        said = words(&actions);
    }
    said
}

#[test]
fn pods_without_room_ask_for_a_host_now_and_then() {
    let mut seen = observed(vec![node("a", json!({}))], &[]);
    seen.pods = vec![refused("x", 1), refused("y", 1)];
    assert_eq!(over(&mut seen, &[1]), "", "the scheduler may still find room");
    assert_eq!(over(&mut seen, &[2]), "add for 2");
    seen.hooks.add_again_after = Duration::from_secs(180);
    assert_eq!(over(&mut seen, &[3]), "", "it was asked for a moment ago");
    assert_eq!(over(&mut seen, &[5]), "add for 2");
    seen.hooks.add = None;
    seen.memory = Memory::default();
    assert_eq!(over(&mut seen, &[9]), "");
}

#[test]
fn an_idle_host_goes_after_its_time_and_one_by_one() {
    let nodes = vec![node("a", json!({})), node("b", json!({}))];
    let mut seen = observed(nodes, &["p a 1", "q b 1", "log a 100m d"]);
    assert_eq!(over(&mut seen, &[0, 9]), "");
    assert_eq!(over(&mut seen, &[10]), "mark a");
    let marked = json!({"metadata": {"annotations": {super::MARK: "then"}}, "spec": {"unschedulable": true}});
    seen.nodes[0] = node("a", marked);
    assert_eq!(over(&mut seen, &[11]), "evict p");
    seen.pods[0] = pod("p a 1 g");
    assert_eq!(over(&mut seen, &[12]), "", "it is on its way");
    seen.pods[0] = pod("p b 1");
    assert_eq!(over(&mut seen, &[13]), "remove a");
    // Somebody has no room: the host is wanted again.
    seen.pods.push(refused("x", 13));
    seen.hooks.add = None;
    assert_eq!(over(&mut seen, &[14]), "unmark a");
}

#[test]
fn who_is_needed_stays() {
    let check = |nodes: Vec<Arc<Node>>, pods: &[&str], allowed: i32, expected: &str| {
        let mut seen = observed(nodes, pods);
        let budget = json!({"metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}},
            "status": {"disruptionsAllowed": allowed}});
        let budget: PodDisruptionBudget = serde_json::from_value(budget).unwrap();
        seen.budgets = vec![Arc::new(budget)];
        assert_eq!(over(&mut seen, &[0, 10]), expected, "{pods:?}");
    };
    let two = || vec![node("a", json!({})), node("b", json!({}))];
    let busy = "q b 3";
    check(two(), &["p a 1", busy], 1, "mark a");
    check(two(), &["p a 1", busy], 0, "");
    check(two(), &["p a 1 b", busy], 1, "");
    check(two(), &["p a 1 e", busy], 1, "");
    check(two(), &["p a 1 es", busy], 1, "mark a");
    check(two(), &["p a 2500m", busy], 1, "");
    check(two(), &["p a 1", "r a 1", busy], 1, "");
    let kept = json!({"metadata": {"annotations": {super::KEPT: "true"}}});
    check(vec![node("a", kept), node("b", json!({}))], &["p a 1", busy], 1, "");
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    check(vec![node("a", json!({})), node("b", tainted)], &["p a 1", "d b 3 d", "q b 3"], 1, "");
    check(vec![node("a", json!({}))], &["p a 1"], 1, "");
}

/// A server that answers one request, and gives what was sent to it.
async fn answering(listener: tokio::net::TcpListener, status: &'static str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut sent = Vec::new();
    while !sent.ends_with(b"}") {
        assert!(stream.read_buf(&mut sent).await.unwrap() > 0, "no body came");
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 8\r\n\r\nno money");
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(sent).unwrap()
}

#[tokio::test]
async fn a_webhook_gets_a_post_and_its_complaint_is_repeated() {
    for (status, expected) in [("200 OK", None), ("402 Payment Required", Some("no money"))] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hook = Hook::Webhook(format!("http://{address}/add?key=secret").parse().unwrap());
        let input = json!({"pods": []});
        let (said, sent) = tokio::join!(hook.call(&[], &input), answering(listener, status));
        assert!(sent.starts_with("POST /add?key=secret HTTP/1.1"), "{sent}");
        assert!(sent.ends_with(r#"{"pods":[]}"#), "{sent}");
        match expected {
            None => assert_eq!(said, Ok(())),
            Some(words) => {
                let said = said.unwrap_err();
                assert!(said.contains(words) && said.contains("402"), "{said}");
                assert!(!said.contains("secret"), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_program_gets_arguments_and_input_and_its_complaint_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("hook");
    let seen = folder.path().join("seen");
    let text = format!("#!/bin/sh\n{{ echo \"$1\"; cat; }} > {}\n", seen.display());
    let write = |text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    write(&text);
    // By its interpreter: a file that was just written may still be open in another test's child.
    let hook = Hook::Program("/bin/sh".into());
    let path = script.to_str().unwrap();
    let called = hook.call(&[path, "n1"], &json!({"node": "n1"})).await;
    assert_eq!(called, Ok(()));
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "n1\n{\"node\":\"n1\"}");
    write("echo it is in use >&2; exit 3");
    let said = hook.call(&[path], &json!({})).await.unwrap_err();
    assert!(said.contains("it is in use") && said.contains("exit status: 3"), "{said}");
    let missing = Hook::Program("/no/such/program".into());
    let said = missing.call(&[], &json!({})).await.unwrap_err();
    assert!(said.starts_with("/no/such/program: "), "{said}");
}
