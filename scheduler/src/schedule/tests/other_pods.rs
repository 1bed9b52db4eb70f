//! Decisions that depend on where other pods are: affinity, spread, images, explanations.

use std::sync::Arc;

use super::*;
use k8s_openapi::api::core::v1::Pod;

/// Two zones of two nodes: a1, a2 in zone a, b1, b2 in zone b.
fn zones() -> Snapshot {
    let node = |zone: &str| json!({"metadata": {"labels": {"zone": zone}}});
    cluster(&[("a1", node("a")), ("a2", node("a")), ("b1", node("b")), ("b2", node("b"))])
}

fn labelled(name: &str, app: &str, spec: Value) -> Arc<Pod> {
    let mut pod = (*pod(name, spec)).clone();
    pod.metadata.labels = Some([("app".to_owned(), app.to_owned())].into());
    Arc::new(pod)
}

fn put(snapshot: &mut Snapshot, name: &str, app: &str, node: &str) {
    snapshot.place(&info(labelled(name, app, json!({}))), node);
}

fn term(app: &str, key: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key})
}

fn required(kind: &str, term: &Value) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

fn preferred(kind: &str, term: &Value) -> Value {
    json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": term}]}}})
}

/// The nodes that take a pod.
fn takers(snapshot: &Snapshot, pod: &Arc<Pod>) -> String {
    let verdicts = explain(snapshot, &info(Arc::clone(pod)));
    let takers = verdicts.into_iter().filter(|verdict| verdict.refusal.is_none());
    takers.map(|verdict| verdict.node).collect::<Vec<_>>().join(" ")
}

/// The reason why nobody takes a pod, without the part about preemption.
fn reason(snapshot: &Snapshot, pod: &Arc<Pod>) -> String {
    match schedule(snapshot, &info(Arc::clone(pod)), 0) {
        Decision::Unschedulable(error) => {
            error.to_string().split(" preemption").next().unwrap_or_default().to_owned()
        }
        found @ (Decision::Assign { .. } | Decision::Preempt { .. }) => format!("{found:?}"),
    }
}

#[test]
fn affinity_follows_the_other_pod_s_place() {
    let mut snapshot = zones();
    let near = labelled("p", "web", required("podAffinity", &term("cache", "zone")));
    let words = "0/4 nodes are available: 4 node(s) didn't match pod affinity rules.";
    assert_eq!(reason(&snapshot, &near), words);
    put(&mut snapshot, "c", "cache", "b1");
    assert_eq!(takers(&snapshot, &near), "b1 b2");
    snapshot.displace("c");
    assert_eq!(reason(&snapshot, &near), words);
}

#[test]
fn the_first_of_a_group_may_go_anywhere() {
    let mut snapshot = zones();
    let group = labelled("p", "web", required("podAffinity", &term("web", "zone")));
    assert_eq!(takers(&snapshot, &group), "a1 a2 b1 b2");
    snapshot.place(&info(group.clone()), "a2");
    let second = labelled("q", "web", required("podAffinity", &term("web", "zone")));
    assert_eq!(takers(&snapshot, &second), "a1 a2");
}

#[test]
fn anti_affinity_holds_in_both_directions() {
    let mut snapshot = zones();
    let apart = required("podAntiAffinity", &term("web", "kubernetes.io/hostname"));
    let mut placed = vec![];
    for number in 0..4 {
        let pod = labelled(&format!("p{number}"), "web", apart.clone());
        let Decision::Assign { node } = schedule(&snapshot, &info(pod.clone()), 0) else {
            panic!("no node for pod {number}")
        };
        snapshot.place(&info(pod), &node);
        placed.push(node);
    }
    placed.sort();
    assert_eq!(placed, ["a1", "a2", "b1", "b2"]);
    assert_eq!(
        reason(&snapshot, &labelled("p4", "web", apart)),
        "0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules."
    );
    assert_eq!(
        reason(&snapshot, &labelled("q", "web", json!({}))),
        "0/4 nodes are available: 4 node(s) didn't satisfy existing pods anti-affinity rules."
    );
    assert_eq!(takers(&snapshot, &labelled("r", "db", json!({}))), "a1 a2 b1 b2");
}

#[test]
fn namespaces_of_a_term() {
    let mut snapshot = zones();
    let mut other = (*labelled("o", "web", json!({}))).clone();
    other.metadata.namespace = Some("other".to_owned());
    snapshot.place(&info(Arc::new(other)), "a1");
    let mut apart = term("web", "zone");
    assert_eq!(
        takers(&snapshot, &labelled("p", "x", required("podAntiAffinity", &apart))),
        "a1 a2 b1 b2"
    );
    apart["namespaces"] = json!(["other"]);
    assert_eq!(
        takers(&snapshot, &labelled("p", "x", required("podAntiAffinity", &apart))),
        "b1 b2"
    );
    apart["namespaces"] = json!([]);
    apart["namespaceSelector"] = json!({"matchLabels": {"team": "red"}});
    let by_label = labelled("p", "x", required("podAntiAffinity", &apart));
    assert_eq!(takers(&snapshot, &by_label), "a1 a2 b1 b2");
    snapshot.namespaces.set("other", [("team".to_owned(), "red".to_owned())].into());
    assert_eq!(takers(&snapshot, &by_label), "b1 b2");
}

#[test]
fn wishes_about_pods_only_move_the_score() {
    let mut snapshot = zones();
    put(&mut snapshot, "c", "cache", "b1");
    let near =
        labelled("p", "web", preferred("podAffinity", &term("cache", "kubernetes.io/hostname")));
    check(&snapshot, &info(near), "b1");
    let apart = labelled("p", "web", preferred("podAntiAffinity", &term("cache", "zone")));
    let node = schedule(&snapshot, &info(apart), 0);
    assert!(matches!(node, Decision::Assign { node } if node.starts_with('a')));
}

fn spread(max_skew: i64, key: &str, when: &str, more: Value) -> Value {
    let mut constraint = json!({"maxSkew": max_skew, "topologyKey": key, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}}});
    for (field, value) in more.as_object().unwrap() {
        constraint[field] = value.clone();
    }
    json!({"topologySpreadConstraints": [constraint]})
}

#[test]
fn hard_spread_keeps_zones_even() {
    let mut snapshot = zones();
    let even = labelled("p", "web", spread(1, "zone", "DoNotSchedule", json!({})));
    assert_eq!(takers(&snapshot, &even), "a1 a2 b1 b2");
    put(&mut snapshot, "x", "web", "a1");
    assert_eq!(takers(&snapshot, &even), "b1 b2");
    put(&mut snapshot, "y", "web", "b1");
    assert_eq!(takers(&snapshot, &even), "a1 a2 b1 b2");
    // A pod that is not counted itself may go where the count is already ahead.
    put(&mut snapshot, "z", "web", "a1");
    let other = labelled("p", "db", spread(1, "zone", "DoNotSchedule", json!({})));
    assert_eq!(takers(&snapshot, &other), "a1 a2 b1 b2");
    let unlabelled = labelled("p", "web", spread(1, "rack", "DoNotSchedule", json!({})));
    assert_eq!(
        reason(&snapshot, &unlabelled),
        "0/4 nodes are available: 4 node(s) didn't match pod topology spread constraints \
         (missing required label)."
    );
}

#[test]
fn too_few_places_count_as_empty_ones() {
    let mut snapshot = zones();
    put(&mut snapshot, "x", "web", "a1");
    put(&mut snapshot, "y", "web", "b1");
    let three = labelled("p", "web", spread(1, "zone", "DoNotSchedule", json!({"minDomains": 3})));
    assert_eq!(
        reason(&snapshot, &three),
        "0/4 nodes are available: 4 node(s) didn't match pod topology spread constraints."
    );
}

#[test]
fn places_that_the_pod_cannot_use_do_not_count() {
    let mut snapshot = zones();
    put(&mut snapshot, "x", "web", "a1");
    let mut only_a = spread(1, "zone", "DoNotSchedule", json!({}));
    only_a["nodeSelector"] = json!({"zone": "a"});
    assert_eq!(takers(&snapshot, &labelled("p", "web", only_a.clone())), "a1 a2");
    only_a["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    assert_eq!(takers(&snapshot, &labelled("p", "web", only_a)), "");
}

#[test]
fn soft_spread_and_the_default_one() {
    let mut snapshot = zones();
    for number in 0..2 {
        put(&mut snapshot, &format!("x{number}"), "web", "a1");
        put(&mut snapshot, &format!("d{number}"), "db", "b1");
    }
    let soft = labelled("p", "web", spread(1, "zone", "ScheduleAnyway", json!({})));
    let Decision::Assign { node } = schedule(&snapshot, &info(soft), 0) else { panic!("no node") };
    assert_eq!(node, "b2");
    let sibling = |name: &str| {
        let mut pod = (*labelled(name, "q", json!({}))).clone();
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r",
            "controller": true});
        pod.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
        info(Arc::new(pod))
    };
    let mut places = vec![];
    for number in 0..4 {
        let pod = sibling(&format!("s{number}"));
        let Decision::Assign { node } = schedule(&snapshot, &pod, number) else {
            panic!("no node")
        };
        snapshot.place(&pod, &node);
        places.push(node);
    }
    places.sort();
    assert_eq!(places, ["a1", "a2", "b1", "b2"]);
}

#[test]
fn images_that_are_there_attract() {
    let mut snapshot = zones();
    let with_image = json!({"metadata": {"labels": {"zone": "b"}}, "status": {"images": [
        {"names": ["registry.coracle.internal/big:1"], "sizeBytes": 30_000_000}]}});
    snapshot.set_node(node("b2", with_image));
    let wants = json!({"containers": [{"name": "c", "image": "registry.coracle.internal/big:1"}]});
    check(&snapshot, &info(pod("p", wants)), "b2");
}

#[test]
fn an_explanation_adds_up() {
    let mut snapshot = zones();
    snapshot.place(&info(cpu_pod("x", "4")), "a1");
    let pod = info(cpu_pod("p", "1"));
    let verdicts = explain(&snapshot, &pod);
    let names: Vec<&str> = verdicts.iter().map(|verdict| verdict.node.as_str()).collect();
    assert_eq!(names, ["a1", "a2", "b1", "b2"]);
    assert_eq!(verdicts[0].refusal.as_ref().unwrap().reasons, ["Insufficient cpu"]);
    assert!(verdicts[0].scores.is_empty());
    let total: i64 = verdicts[1].scores.iter().map(|(_, score)| score).sum();
    let cycle = Cycle::new(&snapshot, &pod);
    assert_eq!(vec![total], scores::totals(&cycle, &[snapshot.node("a2").unwrap()]));
}

#[test]
fn an_explanation_names_the_taints() {
    let taints = json!([{"key": "team", "value": "red", "effect": "NoSchedule"},
        {"key": "soft", "value": "x", "effect": "PreferNoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
    let snapshot = cluster(&[("a", json!({"spec": {"taints": taints}}))]);
    let check = |tolerations: Value, expected: &[&str]| {
        let verdicts = explain(&snapshot, &info(pod("p", json!({"tolerations": tolerations}))));
        let refusal = verdicts.into_iter().next().unwrap().refusal;
        assert_eq!(refusal.map_or_else(Vec::new, |refusal| refusal.reasons), expected);
    };
    let red = "node(s) had untolerated taint {team: red}";
    let lost = "node(s) had untolerated taint {node.kubernetes.io/unreachable: }";
    check(json!([]), &[red, lost]);
    check(json!([{"key": "team", "operator": "Exists"}]), &[lost]);
    check(json!([{"effect": "NoExecute", "operator": "Exists"}]), &[red]);
    check(json!([{"operator": "Exists"}]), &[]);
}
