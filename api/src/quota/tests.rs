//! What objects count for, a line for each.

use super::*;
use expect_test::{Expect, expect};
use serde_json::json;

fn check(plural: &str, object: Value, expected: Expect) {
    let all = usage("", plural, &object);
    let lines: Vec<String> = all.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    expected.assert_eq(&lines.join(" "));
}

fn container(requests: Value, limits: Value) -> Value {
    json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
}

#[test]
fn pods_count_what_they_ask_for() {
    let two = json!([
        container(json!({"cpu": "100m", "memory": "1Gi"}), json!({"cpu": "1"})),
        container(json!({"cpu": "200m", "example.com/gpu": 1}), json!({})),
    ]);
    check(
        "pods",
        json!({"spec": {"containers": two}}),
        expect![
            "count/pods=1 cpu=300m limits.cpu=1 memory=1Gi pods=1 requests.cpu=300m requests.example.com/gpu=1 requests.memory=1Gi"
        ],
    );
    let init = json!([
        {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
        {"name": "i", "resources": {"requests": {"cpu": "2"}}},
    ]);
    check(
        "pods",
        json!({"spec": {"containers": two, "initContainers": init}}),
        expect![
            "count/pods=1 cpu=2100m limits.cpu=1 memory=1Gi pods=1 requests.cpu=2100m requests.example.com/gpu=1 requests.memory=1Gi"
        ],
    );
    check(
        "pods",
        json!({"spec": {"containers": two}, "status": {"phase": "Failed"}}),
        expect!["count/pods=1"],
    );
}

#[test]
fn other_kinds_count_as_one_and_more() {
    check("configmaps", json!({}), expect!["configmaps=1 count/configmaps=1"]);
    check("serviceaccounts", json!({}), expect!["count/serviceaccounts=1"]);
    check(
        "services",
        json!({"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}}),
        expect!["count/services=1 services=1 services.loadbalancers=0 services.nodeports=2"],
    );
    check(
        "persistentvolumeclaims",
        json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}}),
        expect![
            "count/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/requests.storage=5Gi persistentvolumeclaims=1 requests.storage=5Gi"
        ],
    );
    let deployments: Vec<String> = usage("apps", "deployments", &json!({})).into_keys().collect();
    assert_eq!(deployments, ["count/deployments.apps"]);
}

#[test]
fn scopes_choose_pods() {
    let check = |spec: Value, pod: Value, expected: bool| {
        assert_eq!(
            counts(&json!({"spec": spec}), "pods", &json!({"spec": pod})),
            expected,
            "{spec} {pod}"
        );
    };
    let plain = json!({"containers": [{"name": "c"}]});
    let asking = json!({"containers": [container(json!({"cpu": "1"}), json!({}))], "priorityClassName": "high",
        "activeDeadlineSeconds": 5});
    check(json!({}), plain.clone(), true);
    check(json!({"scopes": ["BestEffort"]}), plain.clone(), true);
    check(json!({"scopes": ["BestEffort"]}), asking.clone(), false);
    check(json!({"scopes": ["NotBestEffort", "Terminating"]}), asking.clone(), true);
    check(json!({"scopes": ["NotBestEffort", "NotTerminating"]}), asking.clone(), false);
    let high = json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}});
    check(high.clone(), asking, true);
    check(high, plain, false);
    assert!(!counts(&json!({"spec": {"scopes": ["BestEffort"]}}), "services", &json!({})));
}

#[test]
fn a_quota_asks_for_statements() {
    let hard = amounts(&json!({"limits.cpu": "1", "memory": "1Gi", "pods": 3}));
    let pod = json!({"spec": {"containers": [container(json!({"memory": "1"}), json!({})), {"name": "d"}]}});
    let silent = unstated(&hard, &pod);
    let expected = [
        ("limits.cpu".to_owned(), vec!["c".to_owned(), "d".to_owned()]),
        ("memory".to_owned(), vec!["d".to_owned()]),
    ];
    assert_eq!(silent, expected);
}
