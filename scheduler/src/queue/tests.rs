//! Order, pauses and wake-ups.

use super::*;
use crate::testing::{info, pod};
use proptest::prelude::*;
use serde_json::json;

fn queued(name: &str, priority: i32) -> Arc<PodInfo> {
    info(pod(name, json!({"priority": priority})))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pop(queue: &mut Queue, now: Duration) -> Option<String> {
    queue.pop(now).map(|pod| pod.uid().to_owned())
}

fn resources() -> BTreeSet<Cause> {
    BTreeSet::from([Cause::Resources])
}

#[test]
fn higher_priority_first_then_who_came_first() {
    let mut queue = Queue::default();
    for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
        queue.add(queued(name, priority));
    }
    queue.add(queued("a", 0));
    let order: Vec<String> = std::iter::from_fn(|| pop(&mut queue, seconds(0))).collect();
    assert_eq!(order, ["b", "d", "a", "c"]);
}

#[test]
fn a_refused_pod_waits_for_a_change_that_helps_and_for_its_pause() {
    let mut queue = Queue::default();
    queue.add(queued("a", 0));
    assert!(pop(&mut queue, seconds(0)).is_some());
    queue.refused("a", resources(), seconds(0));
    assert_eq!(pop(&mut queue, seconds(100)), None);
    queue.happened(&[Cause::Taints], seconds(100));
    assert_eq!(pop(&mut queue, seconds(100)), None);
    queue.happened(&[Cause::Resources], seconds(100));
    assert_eq!(pop(&mut queue, seconds(100)), Some("a".to_owned()));
    queue.refused("a", resources(), seconds(100));
    queue.happened(&[Cause::Resources], seconds(101));
    assert_eq!(queue.wakes_at(), Some(seconds(102)));
    assert_eq!(pop(&mut queue, seconds(101)), None);
    assert_eq!(pop(&mut queue, seconds(102)), Some("a".to_owned()));
}

#[test]
fn a_pod_without_any_node_is_woken_by_everything() {
    let mut queue = Queue::default();
    queue.add(queued("a", 0));
    assert!(pop(&mut queue, seconds(0)).is_some());
    queue.refused("a", BTreeSet::new(), seconds(0));
    queue.happened(&[Cause::Affinity], seconds(5));
    assert_eq!(pop(&mut queue, seconds(5)), Some("a".to_owned()));
}

#[test]
fn five_minutes_are_the_most() {
    let mut queue = Queue::default();
    queue.add(queued("a", 0));
    assert!(pop(&mut queue, seconds(0)).is_some());
    queue.refused("a", resources(), seconds(0));
    assert_eq!(queue.wakes_at(), Some(UNSCHEDULABLE_MAX));
    assert_eq!(pop(&mut queue, UNSCHEDULABLE_MAX), Some("a".to_owned()));
}

#[test]
fn pauses_double_up_to_ten_seconds() {
    let found: Vec<u64> = (1..7).map(|attempts| pause(attempts).as_secs()).collect();
    assert_eq!(found, [1, 2, 4, 8, 10, 10]);
}

#[test]
fn failed_bindings_are_tried_again() {
    let mut queue = Queue::default();
    queue.add(queued("a", 0));
    assert!(pop(&mut queue, seconds(0)).is_some());
    queue.failed("a", seconds(0));
    assert_eq!(queue.lengths(), (0, 1, 0));
    assert_eq!(pop(&mut queue, seconds(1)), Some("a".to_owned()));
}

#[test]
fn a_changed_pod_is_worth_a_try() {
    let mut queue = Queue::default();
    queue.add(queued("a", 0));
    assert!(pop(&mut queue, seconds(0)).is_some());
    queue.refused("a", resources(), seconds(0));
    queue.add(queued("a", 0));
    assert_eq!(pop(&mut queue, seconds(5)), None);
    queue.changed(queued("a", 0), seconds(5));
    assert_eq!(pop(&mut queue, seconds(5)), Some("a".to_owned()));
    assert!(queue.remove("a"));
    assert_eq!(queue.lengths(), (0, 0, 0));
}

proptest! {
    /// Whatever happens, no pod is lost: each comes out again within five minutes, once.
    #[test]
    fn no_pod_is_lost_or_doubled(steps in proptest::collection::vec((0_u8..5, 0_usize..4), 1..60)) {
        let names = ["a", "b", "c", "d"];
        let mut queue = Queue::default();
        names.iter().for_each(|name| queue.add(queued(name, 0)));
        let mut now = seconds(0);
        for (step, index) in steps {
            now += seconds(1);
            let name = names[index];
            match step {
                0 => if let Some(pod) = queue.pop(now) { queue.refused(pod.uid(), resources(), now); },
                1 => if let Some(pod) = queue.pop(now) { queue.failed(pod.uid(), now); },
                2 => queue.happened(&[Cause::Resources], now),
                3 => queue.changed(queued(name, 1), now),
                _ => queue.add(queued(name, 2)),
            }
        }
        now += UNSCHEDULABLE_MAX;
        let mut out: Vec<String> = std::iter::from_fn(|| pop(&mut queue, now)).collect();
        out.sort();
        prop_assert_eq!(out, names);
    }
}
