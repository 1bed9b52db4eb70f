//! The decision: how many pods are missing or too many.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::pace::pause;
use super::rank::by_loss;
use super::status::{same, status};
use super::{Action, Observed, PASS_PODS_MAX};
use crate::claim::claim;
use crate::objects::{PodSelector, available_in, is_active, is_deleting};

/// Gives all that is to be done for a ReplicaSet now; nothing when it is as it should be.
///
/// A pod that is being deleted or has ended does not count, so its replacement is made at once.
/// A ReplicaSet that is being deleted itself neither creates nor deletes.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let set = &observed.replica_set;
    let spec = set.spec.clone().unwrap_or_default();
    let selector = PodSelector::new(&spec.selector);
    let takes = |pod: &Pod| selector.takes(pod.metadata.labels.as_ref());
    let (own, claims) = claim(&set.metadata, &observed.pods, takes, is_active);
    let mut actions: Vec<Action> = claims.into_iter().map(Action::Claim).collect();
    let pause = pause(&own, now);
    let active: Vec<Arc<Pod>> = own.into_iter().filter(|pod| is_active(pod)).collect();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let pending = active.iter().filter_map(|pod| available_in(pod, min_ready, now));
    let next = pending.filter(|rest| !rest.is_zero()).min();
    let mut again = next.and_then(|rest| Duration::try_from(rest).ok());
    if let Some(pause) = pause.filter(|_| active.len() < wanted) {
        again = again.into_iter().chain([pause]).min();
    } else if !is_deleting(&set.metadata) {
        // What this pass leaves is the next one's, at once: changes of pods may wait for a while.
        if wanted.abs_diff(active.len()) > PASS_PODS_MAX {
            again = Some(Duration::ZERO);
        }
        actions.extend(balance(active, wanted, &observed.related, now));
    }
    let new = status(observed, None, now);
    if set.status.as_ref().is_none_or(|old| !same(old, &new)) {
        actions.push(Action::SetStatus(Box::new(new)));
    }
    actions.extend(again.map(Action::RequeueAfter));
    actions
}

fn balance(
    active: Vec<Arc<Pod>>,
    wanted: usize,
    related: &[Arc<Pod>],
    now: Timestamp,
) -> Vec<Action> {
    let n_active = active.len();
    if n_active < wanted {
        return vec![Action::Create((wanted - n_active).min(PASS_PODS_MAX))];
    }
    let excess = (n_active - wanted).min(PASS_PODS_MAX);
    if excess == 0 {
        return Vec::new();
    }
    let ranked = by_loss(active, related, now);
    vec![Action::Delete(ranked.into_iter().take(excess).collect())]
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, status};
    use super::*;
    use crate::claim::Claim;
    use expect_test::{Expect, expect};
    use jiff::SignedDuration;
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-01T00:10:00Z";

    fn set(replicas: i32, extra: Value) -> Arc<ReplicaSet> {
        let mut set = json!({
            "metadata": {"name": "web", "namespace": "a", "uid": "rs", "generation": 1},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}}},
        });
        for (pointer, value) in extra.as_object().into_iter().flatten() {
            set["spec"][pointer] = value.clone();
        }
        serde_json::from_value(set).map(Arc::new).unwrap()
    }

    /// `name flags`, where flags are r(eady) p(ending) d(eleting) f(ailed) o(rphan) x(other label)
    /// n(ode a) c(heap) and 0-9 minutes ready.
    fn pod(text: &str) -> Arc<Pod> {
        let (name, flags) = text.split_once(' ').unwrap_or((text, ""));
        let has = |flag| flags.contains(flag);
        let minutes = flags.chars().find_map(|c| c.to_digit(10)).unwrap_or(0);
        let since = format!("2026-01-01T00:0{}:00Z", 9 - minutes);
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "a", "uid": name,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"app": if has('x') { "other" } else { "web" }}},
            "spec": {"containers": [], "nodeName": if has('p') { "" } else if has('n') { "a" } else { "b" }},
            "status": {"phase": if has('f') { "Failed" } else if has('p') { "Pending" } else { "Running" },
                "conditions": [{"type": "Ready", "lastTransitionTime": since,
                    "status": if has('r') { "True" } else { "False" }}]},
        });
        if !has('o') {
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1",
                "kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": true}]);
        }
        if has('d') {
            pod["metadata"]["deletionTimestamp"] = json!(NOW);
        }
        if has('c') {
            pod["metadata"]["annotations"] =
                json!({"controller.kubernetes.io/pod-deletion-cost": "-5"});
        }
        serde_json::from_value(pod).map(Arc::new).unwrap()
    }

    fn observed(set: Arc<ReplicaSet>, pods: &[&str]) -> Observed {
        let pods: Vec<_> = pods.iter().map(|text| pod(text)).collect();
        Observed { replica_set: set, related: pods.clone(), pods }
    }

    fn show(actions: &[Action]) -> String {
        let name = |pod: &Pod| pod.metadata.name.clone().unwrap();
        let line = |action: &Action| match action {
            Action::Claim(Claim::Adopt(pod)) => format!("adopt {}", name(pod)),
            Action::Claim(Claim::Release(pod)) => format!("release {}", name(pod)),
            Action::Create(n) => format!("create {n}"),
            Action::Delete(pods) => {
                let lines = pods.iter().map(|pod| format!("delete {}", name(pod)));
                lines.collect::<Vec<_>>().join("\n")
            }
            Action::SetStatus(s) => format!(
                "status replicas={} ready={} available={} terminating={}",
                s.replicas,
                s.ready_replicas.unwrap_or(0),
                s.available_replicas.unwrap_or(0),
                s.terminating_replicas.unwrap_or(0),
            ),
            Action::RequeueAfter(rest) => format!("again in {}s", rest.as_secs()),
        };
        actions.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn check(set: Arc<ReplicaSet>, pods: &[&str], expected: Expect) {
        let actions = reconcile(&observed(set, pods), NOW.parse().unwrap());
        expected.assert_eq(&show(&actions));
    }

    #[test]
    fn missing_pods_are_created_and_ended_or_leaving_ones_do_not_count() {
        check(
            set(3, json!({})),
            &["p r"],
            expect![[r#"
            create 2
            status replicas=1 ready=1 available=1 terminating=0"#]],
        );
        check(
            set(2, json!({})),
            &["p r", "q f", "s rd"],
            expect![[r#"
            create 1
            status replicas=1 ready=1 available=1 terminating=1"#]],
        );
    }

    #[test]
    fn the_pods_that_lose_least_are_deleted_first() {
        let pods = ["old r9", "young r1", "unready", "pending p", "cheap cr9"];
        check(
            set(4, json!({})),
            &pods,
            expect![[r#"
            delete pending
            status replicas=5 ready=3 available=3 terminating=0"#]],
        );
        check(
            set(1, json!({})),
            &pods,
            expect![[r#"
            delete pending
            delete unready
            delete cheap
            delete young
            status replicas=5 ready=3 available=3 terminating=0"#]],
        );
    }

    #[test]
    fn the_node_with_more_of_the_same_loses_one() {
        check(
            set(2, json!({})),
            &["a r5", "b nr5", "c r5"],
            expect![[r#"
            delete c
            status replicas=3 ready=3 available=3 terminating=0"#]],
        );
    }

    #[test]
    fn pods_are_adopted_and_released_by_label() {
        check(
            set(2, json!({})),
            &["mine r", "moved rx", "lost or", "foreign orx"],
            expect![[r#"
            release moved
            adopt lost
            status replicas=1 ready=1 available=1 terminating=0"#]],
        );
    }

    #[test]
    fn a_ready_pod_becomes_available_after_min_ready_seconds() {
        check(
            set(1, json!({"minReadySeconds": 90})),
            &["p r0"],
            expect![[r#"
            status replicas=1 ready=1 available=0 terminating=0
            again in 30s"#]],
        );
    }

    #[test]
    fn what_a_pass_leaves_is_looked_at_at_once() {
        let check = |replicas: i32, pods: usize, expected: Option<Duration>| {
            let pods: Vec<String> = (0..pods).map(|number| format!("p{number} r")).collect();
            let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
            let actions =
                reconcile(&observed(set(replicas, json!({})), &pods), NOW.parse().unwrap());
            let again = actions.iter().find_map(|action| match action {
                Action::RequeueAfter(wait) => Some(*wait),
                Action::Claim(_) | Action::Create(_) | Action::Delete(_) | Action::SetStatus(_) => {
                    None
                }
            });
            assert_eq!(again, expected, "{replicas} of {}", pods.len());
        };
        check(500, 0, None);
        check(501, 0, Some(Duration::ZERO));
        check(0, 500, None);
        check(0, 501, Some(Duration::ZERO));
    }

    #[test]
    fn a_failure_is_a_condition_until_it_is_over() {
        let now = NOW.parse().unwrap();
        let failure = Failure { reason: "FailedCreate", message: "quota".into() };
        let mut seen = observed(set(1, json!({})), &[]);
        let failed = status(&seen, Some(&failure), now);
        assert_eq!(failed.conditions.as_ref().unwrap()[0].reason.as_deref(), Some("FailedCreate"));
        let mut with = ReplicaSet::clone(&seen.replica_set);
        with.status = Some(failed);
        seen.replica_set = Arc::new(with);
        assert_eq!(status(&seen, None, now).conditions, None);
    }

    #[test]
    fn ten_thousand_pods_that_fail_at_once_are_no_storm() {
        let mut seen = observed(set(10_000, json!({})), &[]);
        let mut now: Timestamp = NOW.parse().unwrap();
        let end = now + SignedDuration::from_mins(30);
        let (mut n_made, mut n_passes) = (0, 0);
        while now < end {
            n_passes += 1;
            let mut wait = Duration::ZERO;
            for action in reconcile(&seen, now) {
                match action {
                    Action::Create(n) => {
                        for number in n_made..n_made + n {
                            let mut failed = Pod::clone(&pod(&format!("p{number} f")));
                            failed.metadata.creation_timestamp = Some(Time(now));
                            seen.pods.push(Arc::new(failed));
                        }
                        n_made += n;
                    }
                    Action::RequeueAfter(after) => wait = after,
                    Action::Claim(_) | Action::Delete(_) | Action::SetStatus(_) => {}
                }
            }
            now += SignedDuration::try_from(wait).unwrap();
            assert!(n_passes < 100, "it looks again and again at {now}");
        }
        // One pass each five minutes tries whether the template works now.
        assert!(n_made <= 7 * PASS_PODS_MAX, "{n_made} pods in half an hour");
    }

    proptest! {
        #[test]
        fn never_more_than_asked_and_then_at_rest(
            replicas in 0..20_i32,
            flags in prop::collection::vec("[rpdfoxnc]{0,4}", 0..20),
        ) {
            let now: Timestamp = NOW.parse().unwrap();
            let texts: Vec<String> =
                flags.iter().enumerate().map(|(i, f)| format!("p{i} {f}")).collect();
            let mut seen = observed(
                set(replicas, json!({})),
                &texts.iter().map(String::as_str).collect::<Vec<_>>(),
            );
            let mut next = 100;
            for _ in 0..3 {
                for action in reconcile(&seen, now) {
                    apply(&mut seen, action, &mut next);
                }
            }
            prop_assert_eq!(show(&reconcile(&seen, now)), "");
            let n_active = seen.pods.iter().filter(|pod| {
                is_active(pod) && crate::objects::is_controlled_by(&pod.metadata, &seen.replica_set.metadata)
            }).count();
            prop_assert_eq!(n_active, replicas as usize);
        }
    }

    fn apply(seen: &mut Observed, action: Action, next: &mut u32) {
        match action {
            Action::Create(n) => {
                for _ in 0..n {
                    *next += 1;
                    seen.pods.push(pod(&format!("new{next} p")));
                }
            }
            Action::Delete(pods) => seen.pods.retain(|other| !pods.contains(other)),
            Action::Claim(Claim::Adopt(pod)) => {
                let owner = crate::objects::controller_reference(&*seen.replica_set);
                change(seen, &pod, |pod| pod.metadata.owner_references = Some(vec![owner]));
            }
            Action::Claim(Claim::Release(pod)) => {
                change(seen, &pod, |pod| pod.metadata.owner_references = None)
            }
            Action::SetStatus(new) => Arc::make_mut(&mut seen.replica_set).status = Some(*new),
            Action::RequeueAfter(_) => {}
        }
    }

    fn change(seen: &mut Observed, which: &Arc<Pod>, by: impl FnOnce(&mut Pod)) {
        let slot = seen.pods.iter_mut().find(|pod| *pod == which).unwrap();
        by(Arc::make_mut(slot));
    }
}
