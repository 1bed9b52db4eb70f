//! Whole lives of a StatefulSet on a small model: pods begin and end when the test says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::identity::{ordinal_of, revision_of};
use super::{Action, Observed, reconcile};
use crate::claim::Claim;
use crate::history::Step;
use crate::objects::{controller_reference, is_deleting, name};

struct Cluster {
    seen: Observed,
    now: Timestamp,
    serial: u32,
    log: Vec<String>,
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn set(spec: Value) -> Arc<StatefulSet> {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "a", "uid": "s", "generation": 1},
        "spec": {"replicas": 3, "serviceName": "peers",
            "selector": {"matchLabels": {"app": "web"}}, "template": template("v1")},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    serde_json::from_value(object).map(Arc::new).unwrap()
}

impl Cluster {
    fn new(spec: Value) -> Cluster {
        let seen = Observed {
            set: set(spec),
            pods: Vec::new(),
            revisions: Vec::new(),
            claims: Some(BTreeMap::new()),
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

    /// One pass of the controller.
    fn pass(&mut self) -> bool {
        let actions = reconcile(&self.seen, self.now);
        let idle = actions.iter().all(|action| matches!(action, Action::RequeueAfter(_)));
        actions.into_iter().for_each(|action| self.apply(action));
        !idle
    }

    /// Passes until there is nothing to do; pods neither begin nor end.
    fn rest(&mut self) -> String {
        for _ in 0..50 {
            if !self.pass() {
                return std::mem::take(&mut self.log).join(" ");
            }
        }
        panic!("does not come to rest: {:?}", self.log);
    }

    /// Lets all pods begin that wait and end that shall, pass by pass, until all is still.
    fn settle(&mut self) -> String {
        let mut all = Vec::new();
        for _ in 0..50 {
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
            let status = pod.status.clone().unwrap_or_default();
            if status.phase.as_deref() == Some("Pending") {
                set_ready(pod, "Running", true, self.now);
                changed = true;
            }
        }
        changed
    }

    fn pod(&mut self, ordinal: i32) -> &mut Arc<Pod> {
        let set = Arc::clone(&self.seen.set);
        let mut pods = self.seen.pods.iter_mut();
        pods.find(|pod| ordinal_of(&set, pod) == Some(ordinal)).unwrap()
    }

    fn apply(&mut self, action: Action) {
        let line = match action {
            Action::Create(pod) => {
                let mut pod = *pod;
                assert!(self.seen.pods.iter().all(|p| p.metadata.name != pod.metadata.name));
                self.serial += 1;
                pod.metadata.uid = Some(format!("pod{}", self.serial));
                let line = format!("+{}", name(&pod.metadata).trim_start_matches("web-"));
                let mut pod = Arc::new(pod);
                set_ready(&mut pod, "Pending", false, self.now);
                self.seen.pods.push(pod);
                line
            }
            Action::Delete(pod) => {
                let now = self.now;
                let at = ordinal_of(&self.seen.set, &pod).unwrap();
                Arc::make_mut(self.pod(at)).metadata.deletion_timestamp = Some(Time(now));
                format!("-{at}")
            }
            Action::Relabel(pod, labels) => {
                let at = ordinal_of(&self.seen.set, &pod).unwrap();
                let meta = &mut Arc::make_mut(self.pod(at)).metadata;
                meta.labels.get_or_insert_default().extend(labels);
                format!("label {at}")
            }
            Action::CreateVolume(claim) => {
                let line = format!("claim {}", name(&claim.metadata));
                let claims = self.seen.claims.as_mut().unwrap();
                claims.insert(name(&claim.metadata).to_owned(), Arc::new(*claim));
                line
            }
            Action::OwnVolume(claim, owners) => {
                let who: Vec<&str> = owners.iter().map(|owner| owner.kind.as_str()).collect();
                let line = format!("{} of {who:?}", name(&claim.metadata));
                let mut claim = PersistentVolumeClaim::clone(&claim);
                claim.metadata.owner_references = Some(owners);
                let claims = self.seen.claims.as_mut().unwrap();
                claims.insert(name(&claim.metadata).to_owned(), Arc::new(claim));
                line
            }
            Action::Claim(Claim::Adopt(pod)) => {
                let owner = controller_reference(&*self.seen.set);
                let at = ordinal_of(&self.seen.set, &pod).unwrap();
                Arc::make_mut(self.pod(at)).metadata.owner_references = Some(vec![owner]);
                format!("adopt {at}")
            }
            Action::Claim(Claim::Release(pod)) => {
                let found = self.seen.pods.iter_mut().find(|other| **other == pod).unwrap();
                Arc::make_mut(found).metadata.owner_references = None;
                format!("release {}", name(&pod.metadata))
            }
            Action::ClaimRevision(_) => "claim revision".to_owned(),
            Action::Revise(step) => self.revise(step),
            Action::SetStatus(status) => {
                Arc::make_mut(&mut self.seen.set).status = Some(*status);
                return;
            }
            Action::RequeueAfter(_) => return,
        };
        self.log.push(line);
    }

    fn revise(&mut self, step: Step) -> String {
        match step {
            Step::Create(revision) => {
                let line = format!("revision {}", revision.revision);
                self.seen.revisions.push(Arc::new(*revision));
                line
            }
            Step::Renumber(revision, number) => {
                let found = self.seen.revisions.iter_mut().find(|other| **other == revision);
                Arc::make_mut(found.unwrap()).revision = number;
                format!("revision {} is {number}", revision.revision)
            }
            Step::Delete(revision) => {
                self.seen.revisions.retain(|other| *other != revision);
                format!("no revision {}", revision.revision)
            }
        }
    }

    fn images(&self) -> String {
        let image = |pod: &Arc<Pod>| pod.spec.clone().unwrap().containers[0].image.clone().unwrap();
        let at = |pod: &Arc<Pod>| ordinal_of(&self.seen.set, pod);
        let mut pods: Vec<&Arc<Pod>> = self.seen.pods.iter().collect();
        pods.sort_by_key(|pod| at(pod));
        pods.into_iter()
            .map(|pod| format!("{}:{}", at(pod).unwrap(), image(pod)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn n_unavailable(&self) -> i32 {
        let plan = super::plan::Rules::of(&self.seen.set);
        let well = |at: &i32| {
            self.seen.pods.iter().any(|pod| {
                ordinal_of(&self.seen.set, pod) == Some(*at) && super::plan::Plan::is_healthy(pod)
            })
        };
        i32::try_from(plan.ordinals().filter(|at| !well(at)).count()).unwrap()
    }
}

fn set_ready(pod: &mut Arc<Pod>, phase: &str, ready: bool, now: Timestamp) {
    let status = json!({"phase": phase, "conditions": [{"type": "Ready",
        "status": if ready { "True" } else { "False" }, "lastTransitionTime": now.to_string()}]});
    Arc::make_mut(pod).status = Some(serde_json::from_value(status).unwrap());
}

/// Brings a StatefulSet up, changes it, and compares what happens then.
fn check(spec: Value, change: Value, expected: Expect) {
    let mut cluster = Cluster::new(spec);
    cluster.settle();
    cluster.change(change);
    let log = cluster.settle();
    expected.assert_eq(&format!("{log}; {}", cluster.images()));
}

#[test]
fn pods_come_in_order_each_after_the_one_before_is_ready() {
    let mut cluster = Cluster::new(json!({}));
    expect!["revision 1 +0 | +1 | +2"].assert_eq(&cluster.settle());
    let status = cluster.seen.set.status.clone().unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (3, Some(3)));
    assert_eq!(status.current_revision, status.update_revision);
    assert_eq!(status.observed_generation, Some(1));
}

#[test]
fn in_parallel_all_come_at_once() {
    let mut cluster = Cluster::new(json!({"podManagementPolicy": "Parallel"}));
    expect!["revision 1 +0 +1 +2"].assert_eq(&cluster.settle());
    cluster.change(json!({"replicas": 0}));
    expect!["-2 -1 -0"].assert_eq(&cluster.settle());
}

#[test]
fn ordinals_begin_where_the_user_says() {
    let mut cluster = Cluster::new(json!({"ordinals": {"start": 5}, "replicas": 2}));
    expect!["revision 1 +5 | +6"].assert_eq(&cluster.settle());
    cluster.change(json!({"ordinals": {"start": 6}}));
    expect!["+7 | -5"].assert_eq(&cluster.settle());
}

#[test]
fn scaling_down_goes_from_the_top_and_waits_for_the_healthy() {
    check(json!({}), json!({"replicas": 1}), expect!["-2 | -1; 0:v1"]);
    let mut cluster = Cluster::new(json!({}));
    cluster.settle();
    let now = cluster.now;
    set_ready(cluster.pod(0), "Running", false, now);
    cluster.change(json!({"replicas": 1}));
    expect![""].assert_eq(&cluster.settle());
    set_ready(cluster.pod(0), "Running", true, now);
    expect!["-2 | -1"].assert_eq(&cluster.settle());
}

#[test]
fn an_unhealthy_pod_beyond_the_size_does_not_hold_itself_up() {
    let mut cluster = Cluster::new(json!({}));
    cluster.settle();
    let now = cluster.now;
    set_ready(cluster.pod(2), "Running", false, now);
    cluster.change(json!({"replicas": 2}));
    expect!["-2"].assert_eq(&cluster.settle());
}

#[test]
fn a_rolling_update_goes_from_the_top_one_by_one() {
    check(
        json!({}),
        json!({"template": template("v2")}),
        expect!["revision 2 -2 | +2 | -1 | +1 | -0 | +0; 0:v2 1:v2 2:v2"],
    );
}

#[test]
fn a_partition_holds_the_lower_ordinals_back_even_when_they_are_made_anew() {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let mut cluster = Cluster::new(json!({"updateStrategy": rolling}));
    cluster.settle();
    cluster.change(json!({"template": template("v2")}));
    cluster.settle();
    assert_eq!(cluster.images(), "0:v1 1:v1 2:v2");
    let now = cluster.now;
    Arc::make_mut(cluster.pod(0)).metadata.deletion_timestamp = Some(Time(now));
    cluster.settle();
    assert_eq!(cluster.images(), "0:v1 1:v1 2:v2");
    let status = cluster.seen.set.status.clone().unwrap();
    assert_eq!((status.current_replicas, status.updated_replicas), (Some(2), Some(1)));
    assert_ne!(status.current_revision, status.update_revision);
}

#[test]
fn on_delete_waits_for_the_user() {
    let mut cluster = Cluster::new(json!({"updateStrategy": {"type": "OnDelete"}}));
    cluster.settle();
    cluster.change(json!({"template": template("v2")}));
    expect!["revision 2"].assert_eq(&cluster.settle());
    let now = cluster.now;
    Arc::make_mut(cluster.pod(1)).metadata.deletion_timestamp = Some(Time(now));
    expect!["+1"].assert_eq(&cluster.settle());
    assert_eq!(cluster.images(), "0:v1 1:v2 2:v1");
}

#[test]
fn max_unavailable_lets_several_go_together() {
    let rolling = |n: Value| json!({"rollingUpdate": {"maxUnavailable": n}});
    for (n, policy) in [(json!(2), "Parallel"), (json!("50%"), "Parallel")] {
        check(
            json!({"replicas": 4, "podManagementPolicy": policy, "updateStrategy": rolling(n)}),
            json!({"template": template("v2")}),
            expect!["revision 2 -3 -2 | +2 +3 | -1 -0 | +0 +1; 0:v2 1:v2 2:v2 3:v2"],
        );
    }
}

#[test]
fn a_rollback_makes_the_old_revision_the_newest() {
    let mut cluster = Cluster::new(json!({"replicas": 1}));
    cluster.settle();
    cluster.change(json!({"template": template("v2")}));
    cluster.settle();
    cluster.change(json!({"template": template("v1")}));
    expect!["revision 1 is 3 -0 | +0"].assert_eq(&cluster.settle());
}

#[test]
fn history_keeps_as_many_as_its_limit() {
    let mut cluster = Cluster::new(json!({"replicas": 1, "revisionHistoryLimit": 1}));
    cluster.settle();
    for image in ["v2", "v3", "v4"] {
        cluster.change(json!({"template": template(image)}));
        cluster.settle();
    }
    let numbers: Vec<i64> = cluster.seen.revisions.iter().map(|r| r.revision).collect();
    assert_eq!(numbers, [3, 4]);
}

#[test]
fn min_ready_seconds_hold_the_next_one_back() {
    let mut cluster = Cluster::new(json!({"minReadySeconds": 10}));
    expect!["revision 1 +0"].assert_eq(&cluster.settle());
    let actions = reconcile(&cluster.seen, cluster.now);
    assert_eq!(actions, [Action::RequeueAfter(std::time::Duration::from_secs(10))]);
    cluster.now += SignedDuration::from_secs(10);
    expect!["+1"].assert_eq(&cluster.settle());
}

#[test]
fn an_ended_pod_is_made_anew() {
    let mut cluster = Cluster::new(json!({}));
    cluster.settle();
    let now = cluster.now;
    for phase in ["Failed", "Succeeded"] {
        set_ready(cluster.pod(1), phase, false, now);
        expect!["-1 | +1"].assert_eq(&cluster.settle());
    }
}

#[test]
fn a_pod_that_has_lost_its_labels_gets_them_back() {
    let mut cluster = Cluster::new(json!({"replicas": 1}));
    cluster.settle();
    let labels = Arc::make_mut(cluster.pod(0)).metadata.labels.as_mut().unwrap();
    labels.remove("apps.kubernetes.io/pod-index");
    expect!["label 0"].assert_eq(&cluster.settle());
}

#[test]
fn a_pod_is_known_by_name_label_host_name_and_volume() {
    let claim = json!({"metadata": {"name": "data", "labels": {"x": "y"}},
        "spec": {"accessModes": ["ReadWriteOnce"]}});
    let mut cluster = Cluster::new(json!({"replicas": 1, "volumeClaimTemplates": [claim]}));
    expect!["revision 1 claim data-web-0 +0"].assert_eq(&cluster.settle());
    let pod = serde_json::to_value(&**cluster.pod(0)).unwrap();
    let hash = cluster.seen.revisions[0].metadata.name.clone().unwrap();
    assert_eq!(
        pod["metadata"]["labels"],
        json!({"app": "web", "apps.kubernetes.io/pod-index": "0",
            "controller-revision-hash": hash, "statefulset.kubernetes.io/pod-name": "web-0"})
    );
    assert_eq!(pod["spec"]["hostname"], "web-0");
    assert_eq!(pod["spec"]["subdomain"], "peers");
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}])
    );
    let claims = cluster.seen.claims.as_ref().unwrap();
    let labels = claims["data-web-0"].metadata.labels.clone().unwrap();
    assert_eq!(serde_json::to_value(labels).unwrap(), json!({"app": "web", "x": "y"}));
}

fn with_claims(deleted: &str, scaled: &str) -> Value {
    json!({"replicas": 2, "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}})
}

#[test]
fn claims_go_with_whom_the_retention_policy_says() {
    let down = json!({"replicas": 1});
    let check_policy = |deleted: &str, scaled: &str, expected: Expect| {
        let mut cluster = Cluster::new(with_claims(deleted, scaled));
        cluster.settle();
        let owners = |cluster: &Cluster| -> String {
            let claims = cluster.seen.claims.as_ref().unwrap().values();
            let kinds = claims.map(|claim| {
                let owners = claim.metadata.owner_references.iter().flatten();
                owners.map(|owner| owner.kind.clone()).collect::<Vec<_>>().join(",")
            });
            format!("[{}]", kinds.collect::<Vec<_>>().join(" "))
        };
        let before = owners(&cluster);
        cluster.change(down.clone());
        let log = cluster.settle();
        expected.assert_eq(&format!("{before} {log} {}", owners(&cluster)));
    };
    check_policy("Retain", "Retain", expect!["[ ] -1 [ ]"]);
    check_policy(
        "Delete",
        "Retain",
        expect!["[StatefulSet StatefulSet] -1 [StatefulSet StatefulSet]"],
    );
    check_policy("Retain", "Delete", expect![[r#"[ ] data-web-1 of ["Pod"] -1 [ Pod]"#]]);
    check_policy(
        "Delete",
        "Delete",
        expect![[r#"[StatefulSet StatefulSet] data-web-1 of ["Pod"] -1 [StatefulSet Pod]"#]],
    );
}

#[test]
fn a_claim_that_goes_with_the_former_pod_is_waited_for() {
    let mut cluster = Cluster::new(with_claims("Retain", "Delete"));
    cluster.settle();
    cluster.change(json!({"replicas": 1}));
    cluster.settle();
    cluster.change(json!({"replicas": 2}));
    expect![""].assert_eq(&cluster.settle());
    cluster.seen.claims.as_mut().unwrap().remove("data-web-1");
    expect!["claim data-web-1 +1"].assert_eq(&cluster.settle());
}

#[test]
fn while_claims_are_unknown_nothing_with_claims_is_made() {
    let mut cluster = Cluster::new(with_claims("Delete", "Delete"));
    cluster.seen.claims = None;
    expect!["revision 1"].assert_eq(&cluster.settle());
}

#[test]
fn one_that_is_being_deleted_does_nothing_more() {
    let mut cluster = Cluster::new(json!({}));
    cluster.settle();
    let now = cluster.now;
    Arc::make_mut(&mut cluster.seen.set).metadata.deletion_timestamp = Some(Time(now));
    cluster.seen.pods.clear();
    expect![""].assert_eq(&cluster.settle());
}

#[derive(Debug, Clone)]
enum Event {
    Replicas(i32),
    Image(u8),
    Fail(i32),
    Unready(i32),
    Hosts,
    Passes,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..5).prop_map(Event::Replicas),
        (0..3_u8).prop_map(Event::Image),
        (0..5).prop_map(Event::Fail),
        (0..5).prop_map(Event::Unready),
        Just(Event::Hosts),
        Just(Event::Passes),
    ]
}

impl Cluster {
    fn happen(&mut self, event: Event) {
        let has = |cluster: &Cluster, at: i32| {
            cluster.seen.pods.iter().any(|pod| ordinal_of(&cluster.seen.set, pod) == Some(at))
        };
        let now = self.now;
        match event {
            Event::Replicas(n) => self.change(json!({"replicas": n})),
            Event::Image(n) => self.change(json!({"template": template(&format!("v{n}"))})),
            Event::Fail(at) if has(self, at) => set_ready(self.pod(at), "Failed", false, now),
            Event::Unready(at) if has(self, at) => set_ready(self.pod(at), "Running", false, now),
            Event::Fail(_) | Event::Unready(_) => {}
            Event::Hosts => {
                self.play_hosts();
            }
            Event::Passes => {
                self.rest();
            }
        }
    }
}

proptest! {
    /// Whatever happens, in the end each wanted ordinal has one healthy pod of the newest
    /// template, and nothing else is there; `apply` asserts that no name is made twice.
    #[test]
    fn it_comes_to_rest_as_wanted(
        parallel: bool,
        unavailable in proptest::option::of(1..4),
        events in proptest::collection::vec(event(), 0..30),
    ) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let mut spec = json!({"podManagementPolicy": policy,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}]});
        if let Some(n) = unavailable {
            spec["updateStrategy"] = json!({"rollingUpdate": {"maxUnavailable": n}});
        }
        let mut cluster = Cluster::new(spec);
        for event in events {
            cluster.happen(event);
        }
        // What is unready is made well by hand, as its owner would.
        let now = cluster.now;
        for pod in &mut cluster.seen.pods {
            if crate::objects::phase(pod) == "Running" {
                set_ready(pod, "Running", true, now);
            }
        }
        cluster.settle();
        let set = &cluster.seen.set;
        let wanted = set.spec.as_ref().unwrap().replicas.unwrap();
        let mut ordinals: Vec<i32> =
            cluster.seen.pods.iter().map(|pod| ordinal_of(set, pod).unwrap()).collect();
        ordinals.sort_unstable();
        prop_assert_eq!(ordinals, (0..wanted).collect::<Vec<_>>());
        let update = set.status.clone().unwrap_or_default().update_revision.unwrap();
        prop_assert!(cluster.seen.pods.iter().all(|pod| revision_of(pod) == update));
        prop_assert_eq!(reconcile(&cluster.seen, cluster.now), []);
    }

    /// An update of healthy pods never makes more unavailable than it may.
    #[test]
    fn an_update_keeps_within_max_unavailable(
        replicas in 1..8_i32,
        most in 1..4_i32,
        parallel: bool,
    ) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let mut cluster = Cluster::new(json!({"replicas": replicas, "podManagementPolicy": policy,
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": most}}}));
        cluster.settle();
        cluster.change(json!({"template": template("v2")}));
        for _ in 0..60 {
            cluster.rest();
            prop_assert!(cluster.n_unavailable() <= most);
            cluster.play_hosts();
        }
        prop_assert!(!cluster.images().contains("v1"));
    }
}
