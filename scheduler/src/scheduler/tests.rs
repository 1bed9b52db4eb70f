//! The books from the first change to the binding, without a server.

use super::*;
use crate::testing::{cpu_pod, node, pod};
use proptest::prelude::*;
use serde_json::{Value, json};

mod groups;

const NOW: Duration = Duration::ZERO;

fn with_node(change: Value) -> Scheduler {
    let mut scheduler = Scheduler::new("default-scheduler");
    scheduler.node_set(None, node("n", change), NOW);
    scheduler
}

/// Gives the next step in a word: `bind POD NODE` or `refuse POD`.
fn next(scheduler: &mut Scheduler, now: Duration) -> String {
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
    match scheduler.next(now, 0) {
        Some(Step::Bind { pod, node }) => format!("bind {} {node}", name(&pod)),
        Some(Step::Preempt { pod, node, victims, .. }) => {
            let victims: Vec<String> = victims.iter().map(|victim| name(victim)).collect();
            format!("preempt {} for {} on {node}", victims.join(" "), name(&pod))
        }
        Some(Step::Refuse { pod, .. }) => format!("refuse {}", name(&pod)),
        None => String::new(),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The pod as the API shows it after the binding.
fn on_node(pod: &Pod, node: &str) -> Arc<Pod> {
    let mut pod = pod.clone();
    pod.spec.as_mut().unwrap().node_name = Some(node.to_owned());
    Arc::new(pod)
}

#[test]
fn decided_pods_hold_their_place_before_the_server_answers() {
    let mut scheduler = with_node(json!({}));
    for name in ["a", "b", "c"] {
        scheduler.pod_set(cpu_pod(name, "2"), NOW);
    }
    assert_eq!(next(&mut scheduler, NOW), "bind a n");
    assert_eq!(next(&mut scheduler, NOW), "bind b n");
    assert_eq!(next(&mut scheduler, NOW), "refuse c");
    assert_eq!(next(&mut scheduler, NOW), "");
}

/// Whatever changes how often: each pod is tried no more often than its pauses allow.
#[test]
fn ten_thousand_pods_that_fit_nowhere_are_no_storm() {
    const PODS: usize = 10_000;
    let mut scheduler = with_node(json!({}));
    let large = cpu_pod("large", "5");
    for number in 0..PODS {
        let mut pod = Pod::clone(&large);
        pod.metadata.name = Some(format!("large-{number}"));
        pod.metadata.uid = pod.metadata.name.clone();
        scheduler.pod_set(Arc::new(pod), NOW);
    }
    let room = |memory: &str| node("n", json!({"status": {"allocatable": {"memory": memory}}}));
    let (mut old, mut n_tries) = (node("n", json!({})), 0);
    for second in 0..16 {
        let new = room(if second % 2 == 0 { "9Gi" } else { "8Gi" });
        scheduler.node_set(Some(&old), Arc::clone(&new), seconds(second));
        old = new;
        while let Some(step) = scheduler.next(seconds(second), 0) {
            assert!(matches!(step, Step::Refuse { .. }), "{step:?}");
            n_tries += 1;
        }
    }
    // At 0, 1, 3, 7 and 15 seconds.
    assert_eq!(n_tries, 5 * PODS);
}

/// The victim of a node that is lost may never end: nobody waits for it.
#[test]
fn a_node_that_is_lost_while_it_is_cleared_is_not_waited_for() {
    for lost in ["taint", "cordon", "gone"] {
        let mut scheduler = with_node(json!({}));
        scheduler.node_set(None, node("m", json!({})), NOW);
        scheduler.pod_set(on_node(&ranked("x", "3", 0), "m"), NOW);
        scheduler.pod_set(on_node(&ranked("y", "3", 1), "n"), NOW);
        scheduler.pod_set(ranked("a", "3", 100), NOW);
        assert_eq!(next(&mut scheduler, NOW), "preempt x for a on m");
        let mut victim = Pod::clone(&on_node(&ranked("x", "3", 0), "m"));
        victim.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        scheduler.pod_set(Arc::new(victim), seconds(1));
        let old = node("m", json!({}));
        // A label is no reason to give up what is under way.
        let labelled = node("m", json!({"metadata": {"labels": {"a": "b"}}}));
        scheduler.node_set(Some(&old), Arc::clone(&labelled), seconds(5));
        assert!(["", "refuse a"].contains(&&*next(&mut scheduler, seconds(20))), "{lost}");
        let taint = json!({"spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}});
        match lost {
            "taint" => scheduler.node_set(Some(&labelled), node("m", taint), seconds(40)),
            "cordon" => {
                let cordoned = node("m", json!({"spec": {"unschedulable": true}}));
                scheduler.node_set(Some(&labelled), cordoned, seconds(40));
            }
            _ => scheduler.node_gone("m", seconds(40)),
        }
        assert_eq!(next(&mut scheduler, seconds(60)), "preempt y for a on n", "{lost}");
    }
}

#[test]
fn a_failed_binding_gives_the_place_back() {
    let mut scheduler = with_node(json!({}));
    scheduler.pod_set(cpu_pod("a", "3"), NOW);
    scheduler.pod_set(cpu_pod("b", "3"), NOW);
    assert_eq!(next(&mut scheduler, NOW), "bind a n");
    assert_eq!(next(&mut scheduler, NOW), "refuse b");
    scheduler.bind_failed("a", BindFailure::Final, seconds(5));
    assert_eq!(next(&mut scheduler, seconds(5)), "bind b n");
}

#[test]
fn a_binding_that_the_api_shows_first_is_not_undone() {
    let mut scheduler = with_node(json!({}));
    let pod = cpu_pod("a", "3");
    scheduler.pod_set(Arc::clone(&pod), NOW);
    assert_eq!(next(&mut scheduler, NOW), "bind a n");
    scheduler.pod_set(on_node(&pod, "n"), NOW);
    scheduler.bind_failed("a", BindFailure::Retry, NOW);
    assert_eq!(scheduler.snapshot().place_of("a"), Some("n"));
    assert_eq!(next(&mut scheduler, seconds(60)), "");
}

#[test]
fn own_status_updates_start_no_new_try() {
    let mut scheduler = with_node(json!({}));
    let mut big = cpu_pod("a", "5");
    scheduler.pod_set(Arc::clone(&big), NOW);
    assert_eq!(next(&mut scheduler, NOW), "refuse a");
    let status = serde_json::from_value(json!({"phase": "Pending"})).unwrap();
    Arc::make_mut(&mut big).status = Some(status);
    scheduler.pod_set(Arc::clone(&big), seconds(5));
    assert_eq!(next(&mut scheduler, seconds(5)), "");
    Arc::make_mut(&mut big).metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    scheduler.pod_set(big, seconds(6));
    assert_eq!(next(&mut scheduler, seconds(6)), "refuse a");
}

#[test]
fn changes_that_help_wake_pods() {
    let mut scheduler = with_node(json!({}));
    scheduler.pod_set(pod("a", json!({"nodeSelector": {"env": "test"}})), NOW);
    assert_eq!(next(&mut scheduler, NOW), "refuse a");
    let old = node("n", json!({}));
    let heartbeat = node("n", json!({"status": {"conditions": []}}));
    scheduler.node_set(Some(&old), heartbeat, seconds(5));
    assert_eq!(next(&mut scheduler, seconds(5)), "");
    let labelled = node("n", json!({"metadata": {"labels": {"env": "test"}}}));
    scheduler.node_set(Some(&old), labelled, seconds(6));
    assert_eq!(next(&mut scheduler, seconds(6)), "bind a n");
}

#[test]
fn pods_that_end_make_room() {
    let mut scheduler = with_node(json!({}));
    let running = on_node(&cpu_pod("old", "4"), "n");
    scheduler.pod_set(Arc::clone(&running), NOW);
    scheduler.pod_set(cpu_pod("a", "4"), NOW);
    assert_eq!(next(&mut scheduler, NOW), "refuse a");
    let mut done = (*running).clone();
    done.status = Some(serde_json::from_value(json!({"phase": "Succeeded"})).unwrap());
    scheduler.pod_set(Arc::new(done), seconds(2));
    assert_eq!(next(&mut scheduler, seconds(2)), "bind a n");
    scheduler.pod_gone("a", seconds(3));
    assert_eq!(scheduler.snapshot().place_of("a"), None);
}

#[test]
fn only_own_pending_pods_are_taken() {
    let mut scheduler = with_node(json!({}));
    scheduler.pod_set(pod("a", json!({"schedulerName": "mine"})), NOW);
    scheduler.pod_set(pod("b", json!({"schedulingGates": [{"name": "x"}]})), NOW);
    let mut deleted = (*pod("c", json!({}))).clone();
    deleted.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    scheduler.pod_set(Arc::new(deleted), NOW);
    assert_eq!(next(&mut scheduler, NOW), "");
    scheduler.pod_set(pod("b", json!({})), NOW);
    assert_eq!(next(&mut scheduler, NOW), "bind b n");
}

/// A pod that requests so much CPU, with a priority.
fn ranked(name: &str, cpu: &str, priority: i32) -> Arc<Pod> {
    let mut pod = (*cpu_pod(name, cpu)).clone();
    pod.spec.as_mut().unwrap().priority = Some(priority);
    Arc::new(pod)
}

#[test]
fn room_that_is_made_is_kept_until_the_victim_is_gone() {
    let mut scheduler = with_node(json!({}));
    let victim = on_node(&ranked("victim", "3", 0), "n");
    scheduler.pod_set(Arc::clone(&victim), NOW);
    scheduler.pod_set(ranked("high", "4", 10), NOW);
    assert_eq!(next(&mut scheduler, NOW), "preempt victim for high on n");
    // A smaller pod of lower priority does not slip into the gap.
    scheduler.pod_set(ranked("low", "1", 0), NOW);
    assert_eq!(next(&mut scheduler, NOW), "refuse low");
    // While the victim ends, nobody else is displaced.
    let mut ending = (*victim).clone();
    ending.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    scheduler.pod_set(Arc::new(ending), seconds(2));
    scheduler.pod_set(ranked("high", "4", 10), seconds(2));
    scheduler.pod_gone("victim", seconds(20));
    assert_eq!(next(&mut scheduler, seconds(20)), "bind high n");
    assert_eq!(next(&mut scheduler, seconds(40)), "refuse low");
}

#[test]
fn a_pod_that_no_longer_waits_keeps_no_room() {
    let mut scheduler = with_node(json!({}));
    scheduler.pod_set(on_node(&ranked("victim", "3", 0), "n"), NOW);
    scheduler.pod_set(ranked("high", "4", 10), NOW);
    assert_eq!(next(&mut scheduler, NOW), "preempt victim for high on n");
    scheduler.pod_set(ranked("low", "1", 0), NOW);
    assert_eq!(next(&mut scheduler, NOW), "refuse low");
    scheduler.pod_gone("high", seconds(20));
    assert_eq!(next(&mut scheduler, seconds(20)), "bind low n");
}

#[test]
fn the_first_node_wakes_everybody() {
    let mut scheduler = Scheduler::new("default-scheduler");
    scheduler.pod_set(pod("a", json!({})), NOW);
    assert_eq!(next(&mut scheduler, NOW), "refuse a");
    scheduler.node_set(None, node("n", json!({})), seconds(1));
    assert_eq!(next(&mut scheduler, seconds(1)), "bind a n");
}

proptest! {
    /// However bindings end and pods go, a node is never given more than it has.
    #[test]
    fn nodes_are_never_overfull(
        steps in proptest::collection::vec((0_u8..6, 0_usize..8, 1_i64..4), 1..120),
    ) {
        let mut scheduler = with_node(json!({}));
        let mut flying: Vec<Arc<Pod>> = vec![];
        // A pod that is made anew is another one: uids never come back.
        let mut births = [0_u32; 8];
        let mut now = NOW;
        for (step, index, cores) in steps {
            now += seconds(1);
            let name = format!("p{index}-{}", births[index]);
            match step {
                0 | 1 => if scheduler.snapshot().place_of(&name).is_none() {
                    scheduler.pod_set(cpu_pod(&name, &cores.to_string()), now);
                },
                2 => {
                    scheduler.pod_gone(&name, now);
                    births[index] += 1;
                },
                3 => if let Some(Step::Bind { pod, .. }) = scheduler.next(now, 0) {
                    flying.push(pod);
                },
                4 => if let Some(pod) = flying.pop() {
                    scheduler.bind_failed(pod_info::uid(&pod), BindFailure::Retry, now);
                },
                _ => if let Some(pod) = flying.pop() {
                    if scheduler.snapshot().place_of(pod_info::uid(&pod)).is_some() {
                        scheduler.pod_set(on_node(&pod, "n"), now);
                    }
                    scheduler.bound(pod_info::uid(&pod));
                },
            }
            let node = scheduler.snapshot().node("n").unwrap();
            prop_assert!(node.state.requested.cpu_millis <= 4000);
            prop_assert!(node.state.requested.cpu_millis >= 0);
        }
    }
}
