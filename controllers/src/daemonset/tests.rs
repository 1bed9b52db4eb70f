//! Whole lives of a DaemonSet on a small model: nodes come and go, pods begin when they may.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::pod::node_of;
use super::{Action, Observed, reconcile};
use crate::claim::Claim;
use crate::history::Step;
use crate::objects::{controller_reference, is_deleting, is_ready, name};

struct Cluster {
    seen: Observed,
    now: Timestamp,
    serial: u32,
    log: Vec<String>,
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "log"}},
        "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn set(spec: Value) -> Arc<DaemonSet> {
    let mut object = json!({
        "metadata": {"name": "log", "namespace": "a", "uid": "d", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "log"}}, "template": template("v1")},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    serde_json::from_value(object).map(Arc::new).unwrap()
}

fn node(name: &str, taints: Value) -> Arc<Node> {
    let node = json!({"metadata": {"name": name, "labels": {"name": name}},
        "spec": {"taints": taints}});
    Arc::new(serde_json::from_value(node).unwrap())
}

impl Cluster {
    fn new(spec: Value, nodes: &[&str]) -> Cluster {
        let nodes = nodes.iter().map(|name| node(name, json!([]))).collect();
        let seen = Observed {
            set: set(spec),
            nodes: Some(nodes),
            pods: Vec::new(),
            revisions: Vec::new(),
            failures: HashMap::new(),
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Cluster { seen, now, serial: 0, log: Vec::new() }
    }

    fn change(&mut self, spec: Value) {
        let set = Arc::make_mut(&mut self.seen.set);
        let mut object = serde_json::to_value(&*set).unwrap();
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        *set = serde_json::from_value(object).unwrap();
        *set.metadata.generation.get_or_insert_default() += 1;
    }

    fn rest(&mut self) -> String {
        for _ in 0..40 {
            let actions = reconcile(&self.seen, self.now);
            if actions.iter().all(|action| matches!(action, Action::RequeueAfter(_))) {
                return std::mem::take(&mut self.log).join(" ");
            }
            actions.into_iter().for_each(|action| self.apply(action));
        }
        panic!("does not come to rest: {:?}", self.log);
    }

    fn settle(&mut self) -> String {
        let mut all = Vec::new();
        for _ in 0..40 {
            let text = self.rest();
            all.extend((!text.is_empty()).then_some(text));
            if !self.play_hosts() {
                return all.join(" | ");
            }
        }
        panic!("never still: {all:?}");
    }

    fn play_hosts(&mut self) -> bool {
        let before = self.seen.pods.len();
        self.seen.pods.retain(|pod| !is_deleting(&pod.metadata));
        let mut changed = before != self.seen.pods.len();
        for pod in &mut self.seen.pods {
            if crate::objects::phase(pod) == "Pending" {
                set_phase(pod, "Running", true, self.now);
                changed = true;
            }
        }
        changed
    }

    fn apply(&mut self, action: Action) {
        let line = match action {
            Action::Create(pods) => {
                let lines: Vec<String> = pods.into_iter().map(|pod| self.create(pod)).collect();
                lines.join(" ")
            }
            Action::Delete(pod) => {
                let now = self.now;
                if crate::objects::phase(&pod) == "Failed" {
                    let node = node_of(&pod).unwrap().to_owned();
                    *self.seen.failures.entry(node).or_default() += 1;
                }
                let mut pods = self.seen.pods.iter_mut();
                let found = pods.find(|other| other.metadata.name == pod.metadata.name).unwrap();
                Arc::make_mut(found).metadata.deletion_timestamp = Some(Time(now));
                format!("-{}", name(&pod.metadata))
            }
            Action::Revise(Step::Create(revision)) => {
                self.seen.revisions.push(Arc::new(*revision));
                return;
            }
            Action::Revise(Step::Renumber(revision, number)) => {
                let mut all = self.seen.revisions.iter_mut();
                let found = all.find(|other| **other == revision);
                Arc::make_mut(found.unwrap()).revision = number;
                return;
            }
            Action::Revise(Step::Delete(revision)) => {
                self.seen.revisions.retain(|other| *other != revision);
                return;
            }
            Action::Claim(Claim::Adopt(pod)) => {
                let owner = controller_reference(&*self.seen.set);
                let mut pods = self.seen.pods.iter_mut();
                let found = pods.find(|other| **other == pod).unwrap();
                Arc::make_mut(found).metadata.owner_references = Some(vec![owner]);
                format!("adopt {}", name(&pod.metadata))
            }
            Action::Claim(Claim::Release(_)) | Action::ClaimRevision(_) => return,
            Action::SetStatus(status) => {
                Arc::make_mut(&mut self.seen.set).status = Some(*status);
                return;
            }
            Action::RequeueAfter(_) => return,
        };
        self.log.push(line);
    }

    fn create(&mut self, mut pod: Pod) -> String {
        self.serial += 1;
        let node = node_of(&pod).unwrap().to_owned();
        pod.metadata.name = Some(format!("{node}{}", self.serial));
        pod.metadata.uid = Some(format!("u{}", self.serial));
        pod.metadata.creation_timestamp = Some(Time(self.now));
        self.now += SignedDuration::from_secs(1);
        let line = format!("+{}", name(&pod.metadata));
        let mut pod = Arc::new(pod);
        set_phase(&mut pod, "Pending", false, self.now);
        self.seen.pods.push(pod);
        line
    }

    fn find(&mut self, which: &str) -> &mut Arc<Pod> {
        self.seen.pods.iter_mut().find(|pod| name(&pod.metadata).starts_with(which)).unwrap()
    }

    fn images(&self) -> String {
        let mut all: Vec<String> = self
            .seen
            .pods
            .iter()
            .map(|pod| {
                let image = pod.spec.clone().unwrap().containers[0].image.clone().unwrap();
                format!("{}:{image}", node_of(pod).unwrap())
            })
            .collect();
        all.sort();
        all.join(" ")
    }

    fn status(&self) -> String {
        let status = self.seen.set.status.clone().unwrap_or_default();
        format!(
            "desired {} current {} ready {} updated {} available {} misplaced {}",
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_ready,
            status.updated_number_scheduled.unwrap_or(0),
            status.number_available.unwrap_or(0),
            status.number_misscheduled,
        )
    }
}

fn set_phase(pod: &mut Arc<Pod>, phase: &str, ready: bool, now: Timestamp) {
    let status = json!({"phase": phase, "conditions": [{"type": "Ready",
        "status": if ready { "True" } else { "False" }, "lastTransitionTime": now.to_string()}]});
    Arc::make_mut(pod).status = Some(serde_json::from_value(status).unwrap());
}

fn rolling(fields: Value) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": fields}})
}

#[test]
fn each_node_gets_one_pod_and_a_new_node_too() {
    let mut cluster = Cluster::new(json!({}), &["a", "b"]);
    expect!["+a1 +b2"].assert_eq(&cluster.settle());
    cluster.seen.nodes.as_mut().unwrap().push(node("c", json!([])));
    expect!["+c3"].assert_eq(&cluster.settle());
    expect!["desired 3 current 3 ready 3 updated 3 available 3 misplaced 0"]
        .assert_eq(&cluster.status());
    assert_eq!(cluster.seen.set.status.as_ref().unwrap().observed_generation, Some(1));
}

#[test]
fn a_pod_names_its_node_and_minds_no_trouble_of_it() {
    let mut cluster = Cluster::new(json!({}), &["a"]);
    cluster.rest();
    let pod = serde_json::to_value(&**cluster.find("a1")).unwrap();
    assert_eq!(pod["spec"].get("nodeName"), None);
    let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    assert_eq!(
        pod.pointer(required).unwrap()["nodeSelectorTerms"],
        json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}])
    );
    let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
    let keys: Vec<&str> = tolerations.iter().map(|t| t["key"].as_str().unwrap()).collect();
    let short: Vec<&str> =
        keys.iter().map(|key| key.trim_start_matches("node.kubernetes.io/")).collect();
    assert_eq!(
        short,
        [
            "not-ready",
            "unreachable",
            "disk-pressure",
            "memory-pressure",
            "pid-pressure",
            "unschedulable"
        ]
    );
    assert!(pod["metadata"]["labels"]["controller-revision-hash"].is_string());
}

#[test]
fn cordoned_nodes_get_pods_and_tainted_ones_do_not() {
    let unschedulable =
        json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]);
    let mut cluster = Cluster::new(json!({}), &["a"]);
    let nodes = cluster.seen.nodes.as_mut().unwrap();
    nodes.push(node("b", unschedulable));
    nodes.push(node("c", json!([{"key": "x", "effect": "NoSchedule"}])));
    expect!["+a1 +b2"].assert_eq(&cluster.settle());
    // A taint that only keeps new ones away leaves the old; one that drives out does not.
    let taint = |effect: &str| json!([{"key": "x", "effect": effect}]);
    cluster.seen.nodes.as_mut().unwrap()[0] = node("a", taint("NoSchedule"));
    expect![""].assert_eq(&cluster.settle());
    expect!["desired 1 current 1 ready 1 updated 1 available 1 misplaced 1"]
        .assert_eq(&cluster.status());
    cluster.seen.nodes.as_mut().unwrap()[0] = node("a", taint("NoExecute"));
    expect!["-a1"].assert_eq(&cluster.settle());
}

#[test]
fn a_changed_selector_moves_the_pods() {
    let mut template = template("v1");
    template["spec"]["nodeSelector"] = json!({"name": "a"});
    let mut cluster = Cluster::new(json!({"template": template.clone()}), &["a", "b"]);
    expect!["+a1"].assert_eq(&cluster.settle());
    template["spec"]["nodeSelector"] = json!({"name": "b"});
    cluster.change(json!({"template": template}));
    expect!["-a1 +b2"].assert_eq(&cluster.settle());
}

#[test]
fn an_update_replaces_as_many_at_once_as_may_be_unavailable() {
    let mut cluster = Cluster::new(json!({}), &["a", "b", "c"]);
    cluster.settle();
    cluster.change(json!({"template": template("v2")}));
    expect!["-a1 | +a4 | -b2 | +b5 | -c3 | +c6"].assert_eq(&cluster.settle());
    let mut cluster = Cluster::new(rolling(json!({"maxUnavailable": "50%"})), &["a", "b", "c"]);
    cluster.settle();
    cluster.change(json!({"template": template("v2")}));
    expect!["-a1 -b2 | +a4 +b5 | -c3 | +c6"].assert_eq(&cluster.settle());
    assert_eq!(cluster.images(), "a:v2 b:v2 c:v2");
}

#[test]
fn with_surge_the_new_pod_serves_before_the_old_one_goes() {
    let spec = rolling(json!({"maxSurge": 1, "maxUnavailable": 0}));
    let mut cluster = Cluster::new(spec, &["a", "b"]);
    cluster.settle();
    cluster.change(json!({"template": template("v2")}));
    expect!["+a3 | -a1 +b4 | -b2"].assert_eq(&cluster.settle());
    assert_eq!(cluster.images(), "a:v2 b:v2");
}

#[test]
fn what_does_not_serve_is_replaced_beyond_the_bound() {
    let mut cluster = Cluster::new(json!({}), &["a", "b", "c"]);
    cluster.settle();
    let now = cluster.now;
    for pod in ["a", "b"] {
        set_phase(cluster.find(pod), "Running", false, now);
    }
    cluster.change(json!({"template": template("v2")}));
    expect!["-a1 -b2 | +a4 +b5 | -c3 | +c6"].assert_eq(&cluster.settle());
}

#[test]
fn on_delete_waits_for_the_user() {
    let mut cluster = Cluster::new(json!({"updateStrategy": {"type": "OnDelete"}}), &["a", "b"]);
    cluster.settle();
    cluster.change(json!({"template": template("v2")}));
    expect![""].assert_eq(&cluster.settle());
    expect!["desired 2 current 2 ready 2 updated 0 available 2 misplaced 0"]
        .assert_eq(&cluster.status());
    let now = cluster.now;
    Arc::make_mut(cluster.find("a")).metadata.deletion_timestamp = Some(Time(now));
    expect!["+a3"].assert_eq(&cluster.settle());
    assert_eq!(cluster.images(), "a:v2 b:v1");
}

#[test]
fn a_failed_pod_is_replaced_ever_later() {
    let mut cluster = Cluster::new(json!({}), &["a"]);
    cluster.settle();
    for expected in [expect!["-a1 | +a2"], expect!["~1s -a2 | +a3"], expect!["~2s -a3 | +a4"]] {
        let now = cluster.now;
        let made = Arc::make_mut(cluster.find("a"));
        made.metadata.creation_timestamp = Some(Time(now));
        set_phase(cluster.find("a"), "Failed", false, now);
        let mut text = String::new();
        let again = reconcile(&cluster.seen, cluster.now).pop();
        if let Some(Action::RequeueAfter(wait)) = again {
            cluster.rest();
            text = format!("~{}s ", wait.as_secs());
            cluster.now += SignedDuration::try_from(wait).unwrap();
        }
        text.push_str(&cluster.settle());
        expected.assert_eq(&text);
    }
}

#[test]
fn two_on_one_node_become_one_the_oldest() {
    let mut cluster = Cluster::new(json!({}), &["a"]);
    cluster.settle();
    let mut second = Pod::clone(cluster.find("a1"));
    second.metadata.name = Some("a9".to_owned());
    second.metadata.creation_timestamp = Some(Time(cluster.now));
    cluster.seen.pods.push(Arc::new(second));
    expect!["-a9"].assert_eq(&cluster.settle());
}

#[test]
fn min_ready_seconds_slow_an_update_down() {
    let mut cluster = Cluster::new(json!({"minReadySeconds": 10}), &["a", "b"]);
    cluster.settle();
    cluster.now += SignedDuration::from_secs(10);
    cluster.change(json!({"template": template("v2")}));
    expect!["-a1 | +a3"].assert_eq(&cluster.settle());
    cluster.now += SignedDuration::from_secs(10);
    expect!["-b2 | +b4"].assert_eq(&cluster.settle());
}

#[test]
fn a_pod_for_a_node_that_is_gone_goes_unless_it_was_bound() {
    let mut cluster = Cluster::new(json!({}), &["a", "b"]);
    cluster.settle();
    Arc::make_mut(cluster.find("b")).spec.as_mut().unwrap().node_name = Some("b".into());
    cluster.seen.nodes = Some(Vec::new());
    expect!["-a1"].assert_eq(&cluster.settle());
}

#[test]
fn while_nodes_are_unknown_nothing_happens() {
    let mut cluster = Cluster::new(json!({}), &["a"]);
    cluster.settle();
    cluster.seen.nodes = None;
    expect![""].assert_eq(&cluster.settle());
    assert_eq!(cluster.images(), "a:v1");
}

fn check_history(limit: i64, expected: Expect) {
    let mut cluster = Cluster::new(json!({"revisionHistoryLimit": limit}), &["a"]);
    cluster.settle();
    for image in ["v2", "v3", "v1"] {
        cluster.change(json!({"template": template(image)}));
        cluster.settle();
    }
    let mut numbers: Vec<i64> = cluster.seen.revisions.iter().map(|r| r.revision).collect();
    numbers.sort_unstable();
    expected.assert_eq(&format!("{numbers:?}"));
}

#[test]
fn history_keeps_as_many_as_its_limit_and_a_rollback_is_the_newest() {
    check_history(10, expect!["[2, 3, 4]"]);
    check_history(1, expect!["[3, 4]"]);
}

#[derive(Debug, Clone)]
enum Event {
    Image(u8),
    Taint(usize, bool),
    Fail(usize),
    Unready(usize),
    Delete(usize),
    Hosts,
    Rest,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3_u8).prop_map(Event::Image),
        (0..4_usize, any::<bool>()).prop_map(|(at, on)| Event::Taint(at, on)),
        (0..4_usize).prop_map(Event::Fail),
        (0..4_usize).prop_map(Event::Unready),
        (0..4_usize).prop_map(Event::Delete),
        Just(Event::Hosts),
        Just(Event::Rest),
    ]
}

const NODES: [&str; 4] = ["a", "b", "c", "d"];

impl Cluster {
    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Image(n) => self.change(json!({"template": template(&format!("v{n}"))})),
            Event::Taint(at, on) => {
                let taints =
                    if on { json!([{"key": "x", "effect": "NoExecute"}]) } else { json!([]) };
                self.seen.nodes.as_mut().unwrap()[at] = node(NODES[at], taints);
            }
            Event::Fail(at) => {
                if let Some(pod) = self.seen.pods.get_mut(at) {
                    set_phase(pod, "Failed", false, now);
                }
            }
            Event::Unready(at) => {
                if let Some(pod) = self.seen.pods.get_mut(at) {
                    set_phase(pod, "Running", false, now);
                }
            }
            Event::Delete(at) => {
                if let Some(pod) = self.seen.pods.get_mut(at) {
                    Arc::make_mut(pod).metadata.deletion_timestamp = Some(Time(now));
                }
            }
            Event::Hosts => {
                self.play_hosts();
            }
            Event::Rest => {
                self.rest();
            }
        }
    }

    fn n_unavailable(&self) -> usize {
        let serves = |node: &&Arc<Node>| {
            self.seen.pods.iter().any(|pod| {
                node_of(pod) == Some(name(&node.metadata))
                    && is_ready(pod)
                    && !is_deleting(&pod.metadata)
            })
        };
        let nodes = self.seen.nodes.as_ref().unwrap();
        nodes.len() - nodes.iter().filter(serves).count()
    }
}

proptest! {
    /// Whatever happens, in the end each fitting node has one pod of the newest template.
    #[test]
    fn it_comes_to_rest_as_wanted(
        surge in 0..3_i32,
        events in proptest::collection::vec(event(), 0..30),
    ) {
        let mut cluster = Cluster::new(rolling(json!({"maxSurge": surge})), &NODES);
        for event in events {
            cluster.happen(event);
        }
        let now = cluster.now;
        for pod in &mut cluster.seen.pods {
            if crate::objects::phase(pod) == "Running" {
                set_phase(pod, "Running", true, now);
            }
        }
        for _ in 0..4 {
            cluster.now += SignedDuration::from_secs(1000);
            cluster.settle();
        }
        let mut per_node: BTreeMap<String, usize> = BTreeMap::new();
        for pod in &cluster.seen.pods {
            *per_node.entry(node_of(pod).unwrap().to_owned()).or_default() += 1;
        }
        let fitting: BTreeMap<String, usize> = cluster.seen.nodes.as_ref().unwrap().iter()
            .filter(|node| node.spec.as_ref().unwrap().taints.as_ref().is_none_or(Vec::is_empty))
            .map(|node| (name(&node.metadata).to_owned(), 1))
            .collect();
        prop_assert_eq!(per_node, fitting);
        let image = cluster.seen.set.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
            .containers[0].image.clone().unwrap();
        let newest = |pod: &Arc<Pod>| {
            pod.spec.as_ref().unwrap().containers[0].image.as_ref() == Some(&image)
        };
        prop_assert!(cluster.seen.pods.iter().all(newest));
        prop_assert_eq!(reconcile(&cluster.seen, cluster.now), []);
    }

    /// An update of healthy pods keeps within its bounds at every moment.
    #[test]
    fn an_update_keeps_within_its_bounds(unavailable in 1..4_usize, surge in 0..4_usize) {
        let unavailable = if surge > 0 { 0 } else { unavailable };
        let bounds = json!({"maxUnavailable": unavailable, "maxSurge": surge});
        let mut cluster = Cluster::new(rolling(bounds), &NODES);
        cluster.settle();
        cluster.change(json!({"template": template("v2")}));
        for _ in 0..30 {
            cluster.rest();
            prop_assert!(cluster.n_unavailable() <= unavailable);
            let staying = cluster.seen.pods.iter().filter(|pod| !is_deleting(&pod.metadata));
            prop_assert!(staying.count() <= NODES.len() + surge);
            cluster.play_hosts();
        }
        prop_assert_eq!(cluster.images(), "a:v2 b:v2 c:v2 d:v2");
    }
}
