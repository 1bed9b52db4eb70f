//! Scores of nodes relative to each other.

use super::*;
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;
use crate::testing::{cpu_pod, info, node_info, pod};
use serde_json::{Value, json};

type Scoring = fn(&Cycle<'_>, &[&NodeInfo]) -> Vec<i64>;

fn check(score: Scoring, pod: &PodInfo, nodes: &[NodeInfo], expected: &[i64]) {
    let nodes: Vec<&NodeInfo> = nodes.iter().collect();
    let snapshot = Snapshot::default();
    assert_eq!(score(&Cycle::new(&snapshot, pod), &nodes), expected);
}

/// A node of 4 cores of which so much is requested.
fn busy(cpu: &str) -> NodeInfo {
    let mut node = node_info(json!({}));
    node.state.add(&info(cpu_pod("other", cpu)).request);
    node
}

#[test]
fn least_allocated_prefers_the_emptier_node() {
    // Memory: 200 MiB each counts for the pods without a request, of 8 GiB.
    check(
        least_allocated::score,
        &info(cpu_pod("p", "1")),
        &[node_info(json!({})), busy("2")],
        &[86, 60],
    );
    check(least_allocated::score, &info(cpu_pod("p", "4")), &[busy("2")], &[47]);
}

#[test]
fn balanced_prefers_even_use() {
    let both = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "2", "memory": "4Gi"}}}]});
    check(balanced::score, &info(pod("p", both)), &[node_info(json!({}))], &[100]);
    check(balanced::score, &info(cpu_pod("p", "2")), &[node_info(json!({}))], &[75]);
    check(balanced::score, &info(pod("p", json!({}))), &[node_info(json!({}))], &[0]);
}

#[test]
fn taints_are_counted_backwards() {
    let taint = |key: &str| json!({"key": key, "effect": "PreferNoSchedule"});
    let tainted = |list: Value| node_info(json!({"spec": {"taints": list}}));
    let nodes = [
        tainted(json!([])),
        tainted(json!([taint("a")])),
        tainted(json!([taint("a"), taint("b")])),
    ];
    check(taints::score, &info(pod("p", json!({}))), &nodes, &[100, 50, 0]);
    let tolerant = pod("p", json!({"tolerations": [{"operator": "Exists"}]}));
    check(taints::score, &info(tolerant), &nodes, &[100, 100, 100]);
}

#[test]
fn preferred_labels_add_up() {
    let term = |weight: i64, value: &str| {
        json!({"weight": weight, "preference": {"matchExpressions": [
            {"key": "disk", "operator": "In", "values": [value]}]}})
    };
    let spec = json!({"affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [term(80, "ssd"), term(20, "hdd")]}}});
    let disk = |kind: &str| node_info(json!({"metadata": {"labels": {"disk": kind}}}));
    check(
        affinity::score,
        &info(pod("p", spec)),
        &[disk("ssd"), disk("hdd"), disk("none")],
        &[100, 25, 0],
    );
    check(affinity::score, &info(pod("p", json!({}))), &[disk("ssd")], &[0]);
}
