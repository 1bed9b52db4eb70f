//! Decisions over whole clusters, and the words when there is none.

use super::*;
use crate::testing::{cpu_pod, info, node, pod};
use proptest::prelude::*;
use serde_json::{Value, json};

fn cluster(nodes: &[(&str, Value)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (name, change) in nodes {
        snapshot.set_node(node(name, change.clone()));
    }
    snapshot
}

fn check(snapshot: &Snapshot, pod: &PodInfo, expected: &str) {
    let found = match schedule(snapshot, pod, 0) {
        Decision::Assign { node } => node,
        Decision::Unschedulable(error) => error.to_string(),
        Decision::Preempt { preemption, .. } => format!("preempt on {}", preemption.node),
    };
    assert_eq!(found, expected);
}

#[test]
fn the_emptier_node_wins() {
    let mut snapshot = cluster(&[("a", json!({})), ("b", json!({}))]);
    snapshot.place(&info(cpu_pod("x", "2")), "a");
    check(&snapshot, &info(cpu_pod("p", "1")), "b");
}

#[test]
fn refusals_are_counted() {
    let snapshot = cluster(&[]);
    check(&snapshot, &info(pod("p", json!({}))), "no nodes available to schedule pods");
    let mut snapshot = cluster(&[
        ("a", json!({})),
        ("b", json!({})),
        ("c", json!({"spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}})),
    ]);
    snapshot.place(&info(cpu_pod("x", "4")), "a");
    snapshot.place(&info(cpu_pod("y", "4")), "b");
    check(
        &snapshot,
        &info(cpu_pod("p", "1")),
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. \
         preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, \
         2 No preemption victims found for incoming pod.",
    );
    let polite = pod("p", json!({"preemptionPolicy": "Never", "nodeSelector": {"a": "b"}}));
    check(
        &snapshot,
        &info(polite),
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), \
         2 node(s) didn't match Pod's node affinity/selector. \
         preemption: not eligible due to preemptionPolicy=Never.",
    );
}

#[test]
fn the_seed_chooses_among_equals() {
    let snapshot = cluster(&[("a", json!({})), ("b", json!({}))]);
    let chosen: Vec<String> = (0..2)
        .map(|seed| format!("{:?}", schedule(&snapshot, &info(pod("p", json!({}))), seed)))
        .collect();
    assert_ne!(chosen[0], chosen[1]);
}

#[test]
fn a_large_cluster_is_not_looked_at_whole() {
    let names: Vec<String> = (0..250).map(|number| format!("n{number:03}")).collect();
    let nodes: Vec<(&str, Value)> = names.iter().map(|name| (name.as_str(), json!({}))).collect();
    let mut snapshot = cluster(&nodes);
    // The emptiest node stands where a search that begins at 0 does not come.
    for name in &names[..249] {
        snapshot.place(&info(cpu_pod(&format!("on-{name}"), "2")), name);
    }
    let pod = info(cpu_pod("p", "1"));
    let found = |seed| format!("{:?}", schedule(&snapshot, &pod, seed));
    assert!(!found(0).contains("n249"), "{}", found(0));
    assert!(found(200).contains("n249"), "{}", found(200));
}

proptest! {
    /// Whatever is assigned fits, and an assignment is refused only when no node has room.
    #[test]
    fn assignments_fit(
        cores in proptest::collection::vec(1_i64..8, 1..6),
        pods in proptest::collection::vec(100_i64..4000, 1..30),
        seed in any::<u64>(),
    ) {
        let mut snapshot = Snapshot::default();
        for (index, cores) in cores.iter().enumerate() {
            let change = json!({"status": {"allocatable": {"cpu": cores.to_string()}}});
            snapshot.set_node(node(&format!("n{index}"), change));
        }
        for (index, millis) in pods.iter().enumerate() {
            let pod = info(cpu_pod(&format!("p{index}"), &format!("{millis}m")));
            match schedule(&snapshot, &pod, seed.wrapping_add(index as u64)) {
                Decision::Assign { node } => snapshot.place(&pod, &node),
                Decision::Preempt { .. } | Decision::Unschedulable(_) => {
                    let room = |node: &NodeInfo| {
                        node.state.capacity.resources.cpu_millis - node.state.requested.cpu_millis
                    };
                    prop_assert!(snapshot.nodes().all(|node| room(node) < *millis));
                }
            }
        }
        for node in snapshot.nodes() {
            let capacity = node.state.capacity.resources.cpu_millis;
            prop_assert!(node.state.requested.cpu_millis <= capacity);
        }
    }
}

mod other_pods;
