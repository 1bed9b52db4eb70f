//! One pod and one node per row, and the words of the refusal.

use super::*;
use crate::snapshot::Snapshot;
use crate::testing::{info, node_info, pod};
use serde_json::{Value, json};

fn check(spec: Value, node: Value, expected: &str) {
    let (pod, snapshot) = (info(pod("p", spec.clone())), Snapshot::default());
    let found = refusal(&Cycle::new(&snapshot, &pod), &node_info(node.clone()));
    let words = found.map_or_else(String::new, |refusal| refusal.reasons.join(", "));
    assert_eq!(words, expected, "{spec} on {node}");
}

#[test]
fn a_plain_pod_fits_a_plain_node() {
    check(json!({}), json!({}), "");
}

#[test]
fn cordoned_nodes() {
    let cordoned = json!({"spec": {"unschedulable": true}});
    check(json!({}), cordoned.clone(), "node(s) were unschedulable");
    let tolerated =
        json!({"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]});
    check(tolerated, cordoned, "");
}

#[test]
fn named_nodes() {
    check(json!({"nodeName": "n"}), json!({}), "");
    check(json!({"nodeName": "m"}), json!({}), "node(s) didn't match the requested node name");
}

#[test]
fn taints() {
    let tainted =
        |effect: &str| json!({"spec": {"taints": [{"key": "a", "value": "b", "effect": effect}]}});
    let words = "node(s) had untolerated taint(s)";
    let tolerating = |toleration: Value| json!({"tolerations": [toleration]});
    check(json!({}), tainted("NoSchedule"), words);
    check(json!({}), tainted("NoExecute"), words);
    check(json!({}), tainted("PreferNoSchedule"), "");
    check(tolerating(json!({"key": "a", "value": "b"})), tainted("NoSchedule"), "");
    check(tolerating(json!({"key": "a", "operator": "Exists"})), tainted("NoSchedule"), "");
    check(tolerating(json!({"operator": "Exists"})), tainted("NoExecute"), "");
    check(tolerating(json!({"key": "a", "value": "c"})), tainted("NoSchedule"), words);
    check(
        tolerating(json!({"key": "a", "operator": "Exists", "effect": "NoExecute"})),
        tainted("NoSchedule"),
        words,
    );
}

#[test]
fn node_selectors_and_affinity() {
    let words = "node(s) didn't match Pod's node affinity/selector";
    let labelled = json!({"metadata": {"labels": {"env": "test", "cores": "8"}}});
    check(json!({"nodeSelector": {"env": "test"}}), labelled.clone(), "");
    check(json!({"nodeSelector": {"env": "prod"}}), labelled.clone(), words);
    let wants = |terms: Value| {
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    };
    let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "env", "operator": operator, "values": values}]});
    for (operator, values, fits) in [
        ("In", json!(["test", "x"]), true),
        ("In", json!(["x"]), false),
        ("NotIn", json!(["test"]), false),
        ("NotIn", json!(["x"]), true),
        ("Exists", json!([]), true),
        ("DoesNotExist", json!([]), false),
        ("Gt", json!(["1"]), false),
    ] {
        let expected = if fits { "" } else { words };
        check(wants(json!([expression(operator, values)])), labelled.clone(), expected);
    }
    let more = json!({"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]});
    check(wants(json!([expression("In", json!(["x"])), more])), labelled.clone(), "");
    let named =
        json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
    check(wants(json!([named])), labelled.clone(), "");
    check(wants(json!([{}])), labelled, words);
}

#[test]
fn resources() {
    let requests =
        |list: Value| json!({"containers": [{"name": "c", "resources": {"requests": list}}]});
    check(requests(json!({"cpu": "4", "memory": "8Gi"})), json!({}), "");
    check(
        requests(json!({"cpu": "5", "memory": "9Gi"})),
        json!({}),
        "Insufficient cpu, Insufficient memory",
    );
    check(json!({}), json!({"status": {"allocatable": {"pods": "0"}}}), "Too many pods");
}

#[test]
fn preemption_helps_only_where_the_node_is_large_enough() {
    let mut node = node_info(json!({}));
    let request = |cpu: &str| info(crate::testing::cpu_pod("p", cpu));
    node.state.add(&request("4").request);
    let helps = |cpu: &str| {
        let (pod, snapshot) = (request(cpu), Snapshot::default());
        refusal(&Cycle::new(&snapshot, &pod), &node).unwrap().preemption_may_help
    };
    assert!(helps("1"));
    assert!(!helps("5"));
}

#[test]
fn claimed_devices() {
    let claims = json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "mine"}]});
    check(claims, json!({}), "node(s) had no driver that allocates resource claims");
    check(json!({"resourceClaims": []}), json!({}), "");
}
