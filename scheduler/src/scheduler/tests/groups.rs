//! Pods that are placed together or not at all, and profiles that pack.

use super::*;
use crate::groups::{GROUP_LABEL, GROUP_MIN_ANNOTATION};

fn member(name: &str, group: &str, min: &str, cpu: &str) -> Arc<Pod> {
    let mut pod = Pod::clone(&cpu_pod(name, cpu));
    pod.metadata.labels = Some([(GROUP_LABEL.to_owned(), group.to_owned())].into());
    let min = (GROUP_MIN_ANNOTATION.to_owned(), min.to_owned());
    pod.metadata.annotations = Some([min].into());
    Arc::new(pod)
}

/// All steps that come up at a time, and what the first refusal says.
fn steps(scheduler: &mut Scheduler, now: Duration) -> (String, String) {
    let (mut all, mut why) = (vec![], String::new());
    while let Some(step) = scheduler.next(now, 0) {
        let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
        match step {
            Step::Bind { pod, node } => all.push(format!("{} on {node}", name(&pod))),
            Step::Refuse { pod, error, .. } => {
                why = error.to_string();
                all.push(format!("not {}", name(&pod)));
            }
            Step::Preempt { pod, .. } => all.push(format!("preempt for {}", name(&pod))),
        }
    }
    (all.join(", "), why)
}

#[test]
fn a_group_waits_until_enough_are_there() {
    let mut scheduler = with_node(json!({}));
    scheduler.pod_set(member("a", "train", "2", "1"), NOW);
    let (said, why) = steps(&mut scheduler, NOW);
    assert_eq!(said, "not a");
    assert_eq!(why, "pod group default/train: 1 of 2 pods are there");
    scheduler.pod_set(member("b", "train", "2", "1"), seconds(1));
    assert_eq!(steps(&mut scheduler, seconds(1)).0, "a on n, b on n");
    // One more joins a group that is whole.
    scheduler.pod_set(member("c", "train", "2", "1"), seconds(2));
    assert_eq!(steps(&mut scheduler, seconds(2)).0, "c on n");
}

#[test]
fn a_group_that_does_not_fit_takes_no_room() {
    let mut scheduler = with_node(json!({}));
    for name in ["a", "b", "c"] {
        scheduler.pod_set(member(name, "train", "3", "2"), NOW);
    }
    let (said, why) = steps(&mut scheduler, NOW);
    assert_eq!(said, "not a, not b, not c");
    assert!(
        why.starts_with(
            "pod group default/train: 2 of 3 pods fit: 0/1 nodes are available: 1 Insufficient cpu."
        ),
        "{why}"
    );
    scheduler.pod_set(cpu_pod("alone", "4"), seconds(1));
    assert_eq!(steps(&mut scheduler, seconds(1)).0, "alone on n");
    scheduler.node_set(
        None,
        node("m", json!({"status": {"allocatable": {"cpu": "6"}}})),
        seconds(20),
    );
    assert_eq!(steps(&mut scheduler, seconds(20)).0, "a on m, b on m, c on m");
}

/// A member that comes before others.
fn high(name: &str, min: &str, cpu: &str) -> Arc<Pod> {
    let mut pod = Pod::clone(&member(name, "train", min, cpu));
    pod.spec.as_mut().unwrap().priority = Some(100);
    Arc::new(pod)
}

fn leaving(pod: &Pod) -> Arc<Pod> {
    let mut pod = pod.clone();
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
    Arc::new(pod)
}

#[test]
fn a_group_displaces_others_for_all_of_it() {
    let mut scheduler = with_node(json!({}));
    let old = ["x", "y"].map(|name| on_node(&ranked(name, "2", 0), "n"));
    for pod in &old {
        scheduler.pod_set(Arc::clone(pod), NOW);
    }
    for name in ["a", "b"] {
        scheduler.pod_set(high(name, "2", "2"), NOW);
    }
    assert_eq!(steps(&mut scheduler, NOW).0, "preempt for a, preempt for b");
    for pod in &old {
        scheduler.pod_set(leaving(pod), seconds(1));
    }
    // One has left. Its place is kept, and nobody gets a node before the other has left too.
    scheduler.pod_gone("x", seconds(20));
    scheduler.pod_set(ranked("small", "1", 0), seconds(20));
    let (said, _) = steps(&mut scheduler, seconds(40));
    assert!(!said.contains(" on n") && !said.contains("preempt"), "{said}");
    scheduler.pod_gone("y", seconds(60));
    let (said, _) = steps(&mut scheduler, seconds(120));
    assert!(said.contains("a on n") && said.contains("b on n"), "{said}");
    assert!(!said.contains("small on n"), "{said}");
}

#[test]
fn a_group_with_too_few_members_left_keeps_no_room() {
    let mut scheduler = with_node(json!({}));
    let old = ["x", "y"].map(|name| on_node(&ranked(name, "2", 0), "n"));
    for pod in &old {
        scheduler.pod_set(Arc::clone(pod), NOW);
    }
    for name in ["a", "b"] {
        scheduler.pod_set(high(name, "2", "2"), NOW);
    }
    assert_eq!(steps(&mut scheduler, NOW).0, "preempt for a, preempt for b");
    for pod in &old {
        scheduler.pod_set(leaving(pod), seconds(1));
    }
    scheduler.pod_gone("x", seconds(2));
    scheduler.pod_gone("b", seconds(2));
    scheduler.pod_set(ranked("small", "1", 0), seconds(20));
    assert_eq!(steps(&mut scheduler, seconds(20)).0, "not a, small on n");
}

#[test]
fn a_group_that_would_not_fit_even_then_displaces_nobody() {
    let mut scheduler = with_node(json!({}));
    for name in ["x", "y"] {
        scheduler.pod_set(on_node(&ranked(name, "2", 0), "n"), NOW);
    }
    for name in ["a", "b", "c"] {
        scheduler.pod_set(high(name, "3", "2"), NOW);
    }
    assert_eq!(steps(&mut scheduler, NOW).0, "not a, not b, not c");
    // The two are still where they were, for all books know.
    scheduler.pod_set(cpu_pod("late", "1"), seconds(1));
    assert_eq!(steps(&mut scheduler, seconds(1)).0, "not late");
}

#[test]
fn a_member_that_is_replaced_waits_for_nobody() {
    let mut scheduler = with_node(json!({}));
    let all = ["a", "b"].map(|name| member(name, "train", "2", "1"));
    for pod in &all {
        scheduler.pod_set(Arc::clone(pod), NOW);
    }
    assert_eq!(steps(&mut scheduler, NOW).0, "a on n, b on n");
    // One has ended and counts on; the other is gone, and another comes in its place.
    let mut ended = Pod::clone(&on_node(&all[0], "n"));
    ended.status = Some(serde_json::from_value(json!({"phase": "Succeeded"})).unwrap());
    scheduler.pod_set(Arc::new(ended), seconds(1));
    scheduler.pod_gone("b", seconds(1));
    scheduler.pod_set(member("c", "train", "2", "1"), seconds(2));
    assert_eq!(steps(&mut scheduler, seconds(2)).0, "c on n");
}

#[test]
fn a_group_that_says_no_number_is_told_how() {
    let mut scheduler = with_node(json!({}));
    scheduler.pod_set(member("a", "train", "many", "1"), NOW);
    let (said, why) = steps(&mut scheduler, NOW);
    assert_eq!(said, "not a");
    assert!(
        why.contains("annotation 'coracle.dev/pod-group-min' must be a number from 1"),
        "{why}"
    );
}

#[test]
fn a_binding_that_fails_is_made_good_alone() {
    let mut scheduler = with_node(json!({}));
    for name in ["a", "b"] {
        scheduler.pod_set(member(name, "train", "2", "1"), NOW);
    }
    assert_eq!(steps(&mut scheduler, NOW).0, "a on n, b on n");
    scheduler.bind_failed("b", BindFailure::Retry, seconds(1));
    assert_eq!(steps(&mut scheduler, seconds(20)).0, "b on n");
}

#[test]
fn a_profile_that_packs_fills_nodes() {
    let profile = |name: &str, allocation| Profile { name: name.to_owned(), allocation };
    let profiles =
        [profile("default-scheduler", Allocation::Least), profile("packs", Allocation::Most)];
    let mut scheduler = Scheduler::with_profiles(profiles);
    for name in ["empty", "half"] {
        scheduler.node_set(None, node(name, json!({})), NOW);
    }
    let balanced = |name: &str, cpu: &str, memory: &str| {
        let requests = json!({"requests": {"cpu": cpu, "memory": memory}});
        pod(name, json!({"containers": [{"name": "c", "resources": requests}]}))
    };
    scheduler.pod_set(on_node(&balanced("old", "2", "4Gi"), "half"), NOW);
    let asks = |name: &str, scheduler: &str| {
        let mut pod = Pod::clone(&balanced(name, "1", "2Gi"));
        pod.spec.as_mut().unwrap().scheduler_name = Some(scheduler.to_owned());
        Arc::new(pod)
    };
    for (name, by, wanted) in [
        ("a", "packs", "a on half"),
        ("b", "default-scheduler", "b on empty"),
        ("c", "strange", ""),
    ] {
        scheduler.pod_set(asks(name, by), NOW);
        assert_eq!(steps(&mut scheduler, NOW).0, wanted, "{by}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However many come, leave, and fit: a group has nobody placed before it has as many as it wants.
    #[test]
    fn groups_are_whole_or_empty(
        sizes in proptest::collection::vec((1_usize..5, 1_usize..5, 1_u32..4), 1..5),
        nodes in 1_usize..4,
    ) {
        let mut scheduler = Scheduler::new("default-scheduler");
        let mut now = NOW;
        let mut placed: HashMap<String, BTreeMap<String, usize>> = HashMap::new();
        for (index, (min, count, cpu)) in sizes.iter().enumerate() {
            for number in 0..*count {
                let pod = member(&format!("p{index}-{number}"), &format!("g{index}"), &min.to_string(), &cpu.to_string());
                scheduler.pod_set(pod, now);
            }
            if index < nodes {
                scheduler.node_set(None, node(&format!("n{index}"), json!({})), now);
            }
            now += seconds(30);
            while let Some(step) = scheduler.next(now, index as u64) {
                if let Step::Bind { pod, node } = step {
                    let group = pod.metadata.labels.clone().unwrap()[GROUP_LABEL].clone();
                    *placed.entry(group).or_default().entry(node).or_default() += 1;
                    scheduler.bound(pod_info::uid(&pod));
                }
            }
            for (group, on) in &placed {
                let (min, _, _) = sizes[group[1..].parse::<usize>().unwrap()];
                prop_assert!(on.values().sum::<usize>() >= min, "{group} has {on:?} of {min}");
            }
        }
    }
}
