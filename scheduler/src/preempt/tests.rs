//! Who has to leave, and where.

use serde_json::{Value, json};

use super::*;
use crate::schedule::{Decision, schedule};
use crate::snapshot::Snapshot;
use crate::testing::{cpu_pod, info, node};

fn ranked(name: &str, cpu: &str, priority: i32, started: &str) -> Arc<PodInfo> {
    let mut pod = (*cpu_pod(name, cpu)).clone();
    pod.metadata.labels = Some([("pod".to_owned(), name.to_owned())].into());
    pod.spec.as_mut().unwrap().priority = Some(priority);
    let status = json!({"startTime": format!("2026-01-01T00:00:{started}Z")});
    pod.status = Some(serde_json::from_value(status).unwrap());
    info(Arc::new(pod))
}

/// `(name, cpu, priority, second of its start)`.
type Placed = (&'static str, &'static str, i32, &'static str);

/// Nodes of 4 cores with their pods.
fn cluster(nodes: &[(&str, &[Placed])]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (name, pods) in nodes {
        snapshot.set_node(node(name, json!({})));
        for (pod, cpu, priority, started) in *pods {
            snapshot.place(&ranked(pod, cpu, *priority, started), name);
        }
    }
    snapshot
}

/// What happens to a pod of priority 10 that requests so much CPU.
fn check(snapshot: &Snapshot, cpu: &str, expected: &str) {
    let found = match schedule(snapshot, &ranked("p", cpu, 10, "00"), 0) {
        Decision::Assign { node } => format!("bind {node}"),
        Decision::Preempt { preemption, .. } => {
            let victims: Vec<&str> = preemption.victims.iter().map(|pod| pod.uid()).collect();
            format!("{} on {}", victims.join(" "), preemption.node)
        }
        Decision::Unschedulable(error) => error.to_string(),
    };
    assert_eq!(found, expected);
}

#[test]
fn only_as_many_as_needed_and_the_least_important() {
    let snapshot = cluster(&[(
        "n",
        &[
            ("old", "1", 5, "01"),
            ("young", "1", 5, "02"),
            ("low", "1", 1, "03"),
            ("big", "1", 7, "04"),
        ],
    )]);
    check(&snapshot, "1", "low on n");
    check(&snapshot, "2", "young low on n");
    check(&snapshot, "4", "big old young low on n");
}

#[test]
fn equals_are_never_displaced() {
    let snapshot = cluster(&[("n", &[("same", "4", 10, "01")])]);
    check(
        &snapshot,
        "1",
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
         1 No preemption victims found for incoming pod.",
    );
    let snapshot = cluster(&[("n", &[("same", "3", 10, "01"), ("low", "1", 1, "01")])]);
    check(
        &snapshot,
        "2",
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
         1 Insufficient cpu.",
    );
}

#[test]
fn the_node_that_hurts_least() {
    // The most important victim counts before their number.
    check(
        &cluster(&[
            ("a", &[("x", "4", 5, "01")]),
            ("b", &[("y", "2", 1, "01"), ("z", "2", 1, "01")]),
        ]),
        "4",
        "y z on b",
    );
    // Fewer victims, then the one that started last.
    check(
        &cluster(&[
            ("a", &[("x", "2", 1, "01"), ("y", "2", 1, "01")]),
            ("b", &[("z", "4", 1, "01")]),
        ]),
        "4",
        "z on b",
    );
    check(&cluster(&[("a", &[("x", "4", 1, "01")]), ("b", &[("y", "4", 1, "09")])]), "4", "y on b");
}

fn budget(selector: Value, allowed: i64) -> k8s_openapi::api::policy::v1::PodDisruptionBudget {
    serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": "b"},
        "spec": {"selector": selector},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1,
            "expectedPods": 1},
    }))
    .unwrap()
}

#[test]
fn budgets_are_kept_while_there_is_another_way() {
    let mut snapshot = cluster(&[("a", &[("x", "4", 1, "09")]), ("b", &[("y", "4", 5, "01")])]);
    check(&snapshot, "4", "x on a");
    snapshot.budgets.set(&budget(json!({"matchLabels": {"pod": "x"}}), 0));
    check(&snapshot, "4", "y on b");
    snapshot.budgets.set(&budget(json!({"matchLabels": {"pod": "x"}}), 1));
    check(&snapshot, "4", "x on a");
    // On one node the guarded pod is put back first.
    let mut snapshot = cluster(&[("n", &[("x", "2", 1, "01"), ("y", "2", 5, "01")])]);
    snapshot.budgets.set(&budget(json!({"matchLabels": {"pod": "x"}}), 0));
    check(&snapshot, "2", "y on n");
    // Without another way it gives.
    check(&snapshot, "4", "y x on n");
}

#[test]
fn pods_that_stand_in_the_way_by_their_rules_leave_too() {
    let mut snapshot = cluster(&[("n", &[])]);
    let term = json!({"labelSelector": {"matchLabels": {"pod": "p"}},
        "topologyKey": "kubernetes.io/hostname"});
    let mut hermit = (*ranked("hermit", "1", 1, "01").pod).clone();
    hermit.spec.as_mut().unwrap().affinity = Some(
        serde_json::from_value(json!({"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [term]}}))
        .unwrap(),
    );
    snapshot.place(&info(Arc::new(hermit)), "n");
    check(&snapshot, "1", "hermit on n");
}
