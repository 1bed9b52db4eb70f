//! Whole rollouts on a small model: ReplicaSets whose pods become available when the test says so.

use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Action, Observed, reconcile};
use crate::claim::Claim;
use crate::objects::{annotation, name};

struct Cluster {
    seen: Observed,
    now: Timestamp,
}

fn deployment(spec: Value) -> Arc<Deployment> {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "a", "uid": "d", "generation": 1},
        "spec": {"replicas": 3, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}}, "template": template("v1")},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    serde_json::from_value(object).map(Arc::new).unwrap()
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}]}})
}

impl Cluster {
    fn new(spec: Value) -> Cluster {
        let seen =
            Observed { deployment: deployment(spec), replica_sets: Vec::new(), pods: Vec::new() };
        Cluster { seen, now: "2026-01-01T00:00:00Z".parse().unwrap() }
    }

    fn change(&mut self, spec: Value) {
        let deployment = Arc::make_mut(&mut self.seen.deployment);
        let mut object = serde_json::to_value(&*deployment).unwrap();
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        *deployment = serde_json::from_value(object).unwrap();
        *deployment.metadata.generation.get_or_insert_default() += 1;
    }

    /// Reconciles until there is nothing to do; gives what was done, a line each.
    fn settle(&mut self) -> String {
        let mut log = Vec::new();
        for _ in 0..20 {
            let actions = reconcile(&self.seen, self.now);
            let waits = |action: &Action| matches!(action, Action::RequeueAfter(_));
            if actions.iter().all(waits) {
                return log.join("\n");
            }
            for action in actions {
                log.extend(self.apply(action));
            }
        }
        panic!("does not come to rest:\n{}", log.join("\n"));
    }

    fn apply(&mut self, action: Action) -> Option<String> {
        match action {
            Action::Create(set) => {
                let mut set = *set;
                let n = self.seen.replica_sets.len();
                set.metadata.uid = Some(format!("rs{n}"));
                set.metadata.creation_timestamp =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
                set.metadata.generation = Some(1);
                let line = format!("create rs{n} of {}", size(&set));
                self.now += SignedDuration::from_secs(1);
                self.seen.replica_sets.push(Arc::new(set));
                Some(line)
            }
            Action::Update(set, edit) => {
                let set = self.find(&set);
                let spec = set.spec.as_mut().unwrap();
                let annotations = set.metadata.annotations.get_or_insert_default();
                annotations.extend(edit.annotations.clone());
                let uid = set.metadata.uid.clone().unwrap();
                let before = spec.replicas;
                spec.replicas = edit.replicas.or(spec.replicas);
                spec.min_ready_seconds = edit.min_ready_seconds.or(spec.min_ready_seconds);
                Some(match edit.replicas {
                    Some(n) => format!("{uid} {} -> {n}", before.unwrap()),
                    None => format!("{uid} annotated"),
                })
            }
            Action::Delete(set) => {
                self.seen.replica_sets.retain(|other| *other != set);
                Some(format!("delete {}", set.metadata.uid.as_deref().unwrap()))
            }
            Action::Claim(Claim::Adopt(set)) => {
                let owner = crate::objects::controller_reference(&*self.seen.deployment);
                self.find(&set).metadata.owner_references = Some(vec![owner]);
                Some(format!("adopt {}", name(&set.metadata)))
            }
            Action::Claim(Claim::Release(set)) => {
                self.find(&set).metadata.owner_references = None;
                Some(format!("release {}", name(&set.metadata)))
            }
            Action::SetRevision(number) => {
                let deployment = Arc::make_mut(&mut self.seen.deployment);
                let annotations = deployment.metadata.annotations.get_or_insert_default();
                annotations.insert(super::revision::REVISION.into(), number.clone());
                Some(format!("revision {number}"))
            }
            Action::SetStatus(status) => {
                Arc::make_mut(&mut self.seen.deployment).status = Some(*status);
                None
            }
            Action::RequeueAfter(_) => None,
        }
    }

    fn find(&mut self, set: &Arc<ReplicaSet>) -> &mut ReplicaSet {
        let mut all = self.seen.replica_sets.iter_mut();
        Arc::make_mut(all.find(|other| other.metadata.uid == set.metadata.uid).unwrap())
    }

    /// Lets every ReplicaSet have its pods, the first `available` of each ready.
    fn run_pods(&mut self, available: i32) {
        for set in &mut self.seen.replica_sets {
            let set = Arc::make_mut(set);
            let size = size(set);
            let before = set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0);
            let ready = size.min(available.max(before.min(size)));
            set.status = serde_json::from_value(json!({"replicas": size, "readyReplicas": ready,
                "availableReplicas": ready, "observedGeneration": 1}))
            .ok();
        }
    }

    fn conditions(&self) -> String {
        let status = self.seen.deployment.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let line = |c: &k8s_openapi::api::apps::v1::DeploymentCondition| {
            format!("{}={} {}", c.type_, c.status, c.reason.as_deref().unwrap_or_default())
        };
        let mut lines: Vec<String> = conditions.iter().map(line).collect();
        lines.sort();
        lines.join("\n")
    }
}

fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Runs a rollout to its end, all pods ready at once; gives the steps, a line per round.
fn roll(cluster: &mut Cluster) -> String {
    let mut rounds = Vec::new();
    for _ in 0..30 {
        let done = cluster.settle();
        if !done.is_empty() {
            rounds.push(done.replace('\n', ", "));
        }
        cluster.run_pods(i32::MAX);
        if done.is_empty() && cluster.settle().is_empty() {
            return rounds.join("\n");
        }
    }
    panic!("rollout does not end: {rounds:?}");
}

fn check(actual: &str, expected: Expect) {
    expected.assert_eq(actual);
}

#[test]
fn a_new_deployment_makes_its_first_revision() {
    let mut cluster = Cluster::new(json!({}));
    check(&roll(&mut cluster), expect!["create rs0 of 3, revision 1"]);
    check(
        &cluster.conditions(),
        expect![[r#"
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable"#]],
    );
    let set = &cluster.seen.replica_sets[0].metadata;
    assert_eq!(annotation(set, "deployment.kubernetes.io/max-replicas"), Some("4"));
    assert!(name(set).starts_with("web-"));
}

#[test]
fn a_rolling_update_keeps_within_surge_and_unavailable() {
    let mut cluster = Cluster::new(json!({"replicas": 4}));
    roll(&mut cluster);
    cluster.change(json!({"template": template("v2")}));
    check(
        &roll(&mut cluster),
        expect![[r#"
            create rs1 of 1, revision 2, rs0 4 -> 3
            rs1 1 -> 2, rs0 3 -> 2
            rs1 2 -> 3, rs0 2 -> 1
            rs1 3 -> 4, rs0 1 -> 0"#]],
    );
}

#[test]
fn zero_surge_takes_down_before_it_brings_up() {
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    let mut cluster = Cluster::new(json!({"replicas": 2, "strategy": strategy}));
    roll(&mut cluster);
    cluster.change(json!({"template": template("v2")}));
    check(
        &roll(&mut cluster),
        expect![[r#"
            create rs1 of 0, revision 2, rs0 2 -> 1
            rs1 0 -> 1
            rs0 1 -> 0
            rs1 1 -> 2"#]],
    );
}

#[test]
fn a_broken_template_stops_at_the_bounds_and_times_out() {
    let mut cluster = Cluster::new(json!({"replicas": 4}));
    roll(&mut cluster);
    cluster.change(json!({"template": template("broken")}));
    let mut log = Vec::new();
    for _ in 0..5 {
        log.extend(Some(cluster.settle()).filter(|done| !done.is_empty()));
        cluster.run_pods(0);
    }
    check(
        &log.join("\n"),
        expect![[r#"
            create rs1 of 1
            revision 2
            rs0 4 -> 3
            rs1 1 -> 2"#]],
    );
    cluster.now += SignedDuration::from_secs(700);
    cluster.settle();
    check(
        &cluster.conditions(),
        expect![[r#"
        Available=True MinimumReplicasAvailable
        Progressing=False ProgressDeadlineExceeded"#]],
    );
}

#[test]
fn a_rollback_brings_the_old_replica_set_back_with_a_new_number() {
    let mut cluster = Cluster::new(json!({"replicas": 1}));
    roll(&mut cluster);
    cluster.change(json!({"template": template("v2")}));
    roll(&mut cluster);
    cluster.change(json!({"template": template("v1")}));
    check(
        &roll(&mut cluster),
        expect![[r#"
        revision 3, rs0 0 -> 1
        rs1 1 -> 0"#]],
    );
    let set = &cluster.seen.replica_sets[0].metadata;
    assert_eq!(annotation(set, "deployment.kubernetes.io/revision"), Some("3"));
    assert_eq!(annotation(set, "deployment.kubernetes.io/revision-history"), Some("1"));
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    let mut cluster = Cluster::new(json!({"strategy": {"type": "Recreate"}}));
    roll(&mut cluster);
    cluster.change(json!({"template": template("v2")}));
    let leaving = json!({"metadata": {"name": "p", "ownerReferences": [{"apiVersion": "apps/v1",
        "kind": "ReplicaSet", "name": "x", "uid": "rs0", "controller": true}]}});
    cluster.seen.pods = vec![Arc::new(serde_json::from_value(leaving).unwrap())];
    check(&roll(&mut cluster), expect!["rs0 3 -> 0"]);
    cluster.seen.pods.clear();
    check(&roll(&mut cluster), expect!["create rs1 of 3, revision 2"]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut cluster = Cluster::new(json!({}));
    roll(&mut cluster);
    cluster.change(json!({"template": template("v2"), "paused": true, "replicas": 5}));
    check(&roll(&mut cluster), expect!["rs0 3 -> 5"]);
    check(
        &cluster.conditions(),
        expect![[r#"
        Available=True MinimumReplicasAvailable
        Progressing=Unknown DeploymentPaused"#]],
    );
    cluster.change(json!({"paused": false}));
    let steps = roll(&mut cluster);
    assert!(steps.ends_with("rs0 1 -> 0") || steps.ends_with("-> 0"), "{steps}");
}

#[test]
fn a_scale_in_the_middle_of_a_rollout_is_shared() {
    let mut cluster = Cluster::new(json!({"replicas": 10,
        "strategy": {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}}));
    roll(&mut cluster);
    cluster.change(json!({"template": template("v2")}));
    cluster.settle();
    cluster.run_pods(0);
    cluster.settle();
    check(&sizes(&cluster), expect!["rs0=8 rs1=5"]);
    cluster.change(json!({"replicas": 15}));
    cluster.settle();
    check(&sizes(&cluster), expect!["rs0=11 rs1=7"]);
}

fn sizes(cluster: &Cluster) -> String {
    let show =
        |set: &Arc<ReplicaSet>| format!("{}={}", set.metadata.uid.as_deref().unwrap(), size(set));
    cluster.seen.replica_sets.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn history_keeps_as_many_as_its_limit() {
    let mut cluster = Cluster::new(json!({"replicas": 1, "revisionHistoryLimit": 1}));
    for image in ["v1", "v2", "v3", "v4"] {
        cluster.change(json!({"template": template(image)}));
        roll(&mut cluster);
    }
    check(&sizes(&cluster), expect!["rs2=0 rs2=1"]);
}

#[test]
fn orphans_are_adopted_and_strangers_released() {
    let mut cluster = Cluster::new(json!({"replicas": 1}));
    roll(&mut cluster);
    let set = Arc::make_mut(&mut cluster.seen.replica_sets[0]);
    set.metadata.owner_references = None;
    let done = cluster.settle();
    assert!(done.starts_with("adopt web-"), "{done}");
    let set = Arc::make_mut(&mut cluster.seen.replica_sets[0]);
    set.metadata.labels = None;
    let done = cluster.settle();
    assert!(done.starts_with("release web-"), "{done}");
}

proptest! {
    #[test]
    fn bounds_hold_at_every_step_and_it_comes_to_rest(
        before in 1..12_i32,
        after in 1..12_i32,
        surge in 0..4_i32,
        unavailable in 0..4_i32,
        readiness in prop::collection::vec(0..12_i32, 1..12),
    ) {
        let strategy = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        let mut cluster = Cluster::new(json!({"replicas": before, "strategy": strategy}));
        roll(&mut cluster);
        cluster.change(json!({"template": template("v2"), "replicas": after}));
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        for ready in readiness {
            cluster.settle();
            let asked: i32 = cluster.seen.replica_sets.iter().map(|set| size(set)).sum();
            prop_assert!(asked <= after.max(before) + surge, "{} of {after}", asked);
            // What stays available if every ReplicaSet obeys at once.
            let stays: i32 = cluster.seen.replica_sets.iter().map(|set| {
                let told = set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0);
                told.min(size(set))
            }).sum();
            prop_assert!(stays >= before.min(after) - unavailable, "{stays} stay");
            cluster.run_pods(ready);
        }
        roll(&mut cluster);
        let end = cluster.conditions();
        prop_assert!(end.contains("Progressing=True NewReplicaSetAvailable"), "{}", end);
        let sizes: Vec<i32> = cluster.seen.replica_sets.iter().map(|set| size(set)).collect();
        prop_assert_eq!(sizes, vec![0, after]);
    }
}
