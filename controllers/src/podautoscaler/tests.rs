//! Autoscalers over minutes of a model's clock.

use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Action, Memory, Observed, Reading, Scale, reconcile};

fn autoscaler(spec: Value) -> Arc<HorizontalPodAutoscaler> {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "a", "uid": "h", "generation": 1},
        "spec": {"minReplicas": 1, "maxReplicas": 10,
            "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
            "metrics": [cpu(50)]},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    serde_json::from_value(object).map(Arc::new).unwrap()
}

/// A target of CPU, in percent of what pods request.
fn cpu(percent: i32) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": percent}}})
}

fn external(target: Value) -> Value {
    json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": target}})
}

/// `name flags`, flags u(nready), p(ending), d(eleting); each requests a whole CPU.
fn pod(text: &str) -> Arc<Pod> {
    let (name, flags) = text.split_once(' ').unwrap_or((text, ""));
    let has = |flag| flags.contains(flag);
    let ready = if has('u') { "False" } else { "True" };
    let mut pod = json!({"metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {"phase": if has('p') { "Pending" } else { "Running" },
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": ready}]}});
    if has('d') {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn usage(all: &[(&str, i64)]) -> Reading {
    Reading::Pods(all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
}

fn now() -> Timestamp {
    "2026-01-01T00:01:00Z".parse().unwrap()
}

fn observed(spec: Value, replicas: i32, pods: &[&str], readings: Vec<Reading>) -> Observed {
    Observed {
        autoscaler: autoscaler(spec),
        scale: Ok(Scale { spec: replicas, status: replicas }),
        pods: pods.iter().map(|text| pod(text)).collect(),
        readings,
        memory: Memory::default(),
    }
}

/// Gives the new size, or `stays`, and the conditions' reasons.
fn outcome(observed: &Observed) -> String {
    let actions = reconcile(observed, now());
    let size = actions.iter().find_map(|action| match action {
        Action::Scale(size, _) => Some(format!("to {size}")),
        Action::Remember(_) | Action::Warn(..) | Action::SetStatus(_) | Action::RequeueAfter(_) => {
            None
        }
    });
    let status = actions.iter().find_map(|action| match action {
        Action::SetStatus(status) => Some(status.clone()),
        Action::Scale(..) | Action::Remember(_) | Action::Warn(..) | Action::RequeueAfter(_) => {
            None
        }
    });
    let conditions = status.and_then(|status| status.conditions).unwrap_or_default();
    let reasons: Vec<String> = conditions.into_iter().filter_map(|c| c.reason).collect();
    format!("{} {}", size.unwrap_or_else(|| "stays".to_owned()), reasons.join(" "))
}

fn check(spec: Value, replicas: i32, pods: &[&str], readings: Vec<Reading>, expected: Expect) {
    expected.assert_eq(&outcome(&observed(spec, replicas, pods, readings)));
}

#[test]
fn the_size_follows_the_ratio_of_use_to_target() {
    let two = ["a", "b"];
    let use_of = |a, b| vec![usage(&[("a", a), ("b", b)])];
    check(
        json!({}),
        2,
        &two,
        use_of(1000, 1000),
        expect!["to 4 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
    check(
        json!({}),
        2,
        &two,
        use_of(530, 530),
        expect!["stays ReadyForNewScale ValidMetricFound DesiredWithinRange"],
    );
    check(
        json!({}),
        2,
        &two,
        use_of(100, 100),
        expect!["stays ScaleDownStabilized ValidMetricFound DesiredWithinRange"],
    );
    check(
        json!({"maxReplicas": 3}),
        2,
        &two,
        use_of(1000, 1000),
        expect!["to 3 SucceededRescale ValidMetricFound TooManyReplicas"],
    );
    check(
        json!({"minReplicas": 2, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}),
        2,
        &two,
        use_of(0, 0),
        expect!["stays ReadyForNewScale ValidMetricFound TooFewReplicas"],
    );
}

#[test]
fn a_size_out_of_bounds_is_brought_within_whatever_metrics_say() {
    check(json!({}), 20, &[], vec![], expect!["to 10 SucceededRescale"]);
    check(json!({"minReplicas": 3}), 2, &[], vec![], expect!["to 3 SucceededRescale"]);
    check(json!({}), 0, &[], vec![], expect!["stays SucceededGetScale ScalingDisabled"]);
}

#[test]
fn growth_is_limited_by_default_to_double_or_four_more() {
    let heavy = vec![usage(&[("a", 9000)])];
    check(
        json!({}),
        1,
        &["a"],
        heavy.clone(),
        expect!["to 5 SucceededRescale ValidMetricFound ScaleUpLimit"],
    );
    let rules = json!({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}});
    check(
        rules,
        1,
        &["a"],
        heavy.clone(),
        expect!["to 2 SucceededRescale ValidMetricFound ScaleUpLimit"],
    );
    let off = json!({"behavior": {"scaleUp": {"selectPolicy": "Disabled"}}});
    check(off, 1, &["a"], heavy, expect!["stays ReadyForNewScale ValidMetricFound ScaleUpLimit"]);
}

#[test]
fn pods_that_say_nothing_do_not_turn_the_direction() {
    // One pod is over its target, the other has no measurement: not as many more as it seems.
    check(
        json!({}),
        2,
        &["a", "b"],
        vec![usage(&[("a", 1500)])],
        expect!["to 3 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
    check(
        json!({}),
        2,
        &["a", "b"],
        vec![usage(&[("a", 800)])],
        expect!["stays ReadyForNewScale ValidMetricFound DesiredWithinRange"],
    );
    check(
        json!({}),
        3,
        &["a", "b u", "c d"],
        vec![usage(&[("a", 2000), ("b", 9000), ("c", 9)])],
        expect!["to 4 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
}

#[test]
fn a_metric_that_is_unknown_never_shrinks() {
    let unknown = Reading::Unknown("no answer".to_owned());
    check(
        json!({}),
        4,
        &["a"],
        vec![unknown.clone()],
        expect!["stays SucceededGetScale FailedGetResourceMetric"],
    );
    let both = json!({"metrics": [cpu(50), external(json!({"type": "Value", "value": "10"}))]});
    let light = vec![usage(&[("a", 100)]), unknown.clone()];
    check(
        both.clone(),
        1,
        &["a"],
        light,
        expect!["stays ReadyForNewScale ValidMetricFound DesiredWithinRange"],
    );
    let heavy = vec![usage(&[("a", 1000)]), unknown];
    check(
        both,
        1,
        &["a"],
        heavy,
        expect!["to 2 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
    let mut lost = observed(json!({}), 1, &["a"], vec![]);
    lost.scale = Err("not found".to_owned());
    expect!["stays FailedGetScale"].assert_eq(&outcome(&lost));
}

#[test]
fn a_pod_without_a_request_is_told() {
    let mut bare = Pod::clone(&pod("a"));
    bare.spec.as_mut().unwrap().containers[0].resources = None;
    let mut seen = observed(json!({}), 1, &[], vec![usage(&[("a", 1)])]);
    seen.pods = vec![Arc::new(bare)];
    let told = reconcile(&seen, now()).into_iter().next();
    assert_eq!(
        told,
        Some(Action::Warn(
            "FailedGetResourceMetric".into(),
            "missing request for cpu in container c of Pod a".into()
        ))
    );
}

#[test]
fn each_kind_of_metric_reads_its_target() {
    let metric = |metric: Value| json!({"metrics": [metric]});
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "rps"},
        "target": {"type": "AverageValue", "averageValue": "100"}}});
    check(
        metric(pods),
        2,
        &["a", "b"],
        vec![usage(&[("a", 150_000), ("b", 150_000)])],
        expect!["to 3 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
    let container = json!({"type": "ContainerResource", "containerResource": {"name": "cpu",
        "container": "c", "target": {"type": "Utilization", "averageUtilization": 50}}});
    check(
        metric(container),
        1,
        &["a"],
        vec![usage(&[("a", 1000)])],
        expect!["to 2 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
    let object = json!({"type": "Object", "object": {"metric": {"name": "rps"},
        "describedObject": {"kind": "Service", "name": "web"},
        "target": {"type": "Value", "value": "10"}}});
    check(
        metric(object),
        2,
        &["a", "b"],
        vec![Reading::Value(20_000)],
        expect!["to 4 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
    let average = external(json!({"type": "AverageValue", "averageValue": "10"}));
    check(
        metric(average),
        2,
        &["a", "b"],
        vec![Reading::Value(55_000)],
        expect!["to 6 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
}

#[test]
fn an_empty_queue_scales_to_zero_and_a_filled_one_from_there() {
    let queue = external(json!({"type": "AverageValue", "averageValue": "10"}));
    let spec = json!({"minReplicas": 0, "metrics": [queue],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}});
    check(
        spec.clone(),
        2,
        &["a", "b"],
        vec![Reading::Value(0)],
        expect!["to 0 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
    check(
        spec,
        0,
        &[],
        vec![Reading::Value(15_000)],
        expect!["to 2 SucceededRescale ValidMetricFound DesiredWithinRange"],
    );
}

#[test]
fn a_tolerance_of_its_own_is_kept() {
    let spec = json!({"behavior": {"scaleUp": {"tolerance": "500m"}}});
    check(
        spec,
        2,
        &["a", "b"],
        vec![usage(&[("a", 700), ("b", 700)])],
        expect!["stays ReadyForNewScale ValidMetricFound DesiredWithinRange"],
    );
}

/// Lets load come and go, a pass each 15 seconds; gives the sizes.
fn sizes(spec: Value, loads: &[i64]) -> Vec<i32> {
    let mut seen = observed(spec, 1, &[], vec![]);
    let mut time = now();
    let mut sizes = Vec::new();
    for load in loads {
        let size = seen.scale.as_ref().unwrap().spec;
        seen.pods = (0..size).map(|n| pod(&format!("p{n}"))).collect();
        let each = load / i64::from(size.max(1));
        let all: Vec<(String, i64)> = (0..size).map(|n| (format!("p{n}"), each)).collect();
        seen.readings = vec![Reading::Pods(all.into_iter().collect())];
        for action in reconcile(&seen, time) {
            match action {
                Action::Scale(size, _) => seen.scale = Ok(Scale { spec: size, status: size }),
                Action::Remember(memory) => seen.memory = memory,
                Action::SetStatus(status) => {
                    Arc::make_mut(&mut seen.autoscaler).status = Some(*status);
                }
                Action::Warn(..) | Action::RequeueAfter(_) => {}
            }
        }
        sizes.push(seen.scale.as_ref().unwrap().spec);
        time += SignedDuration::from_secs(15);
    }
    sizes
}

#[test]
fn shrinking_waits_until_nobody_has_asked_for_more_in_its_window() {
    let mut loads = vec![2000; 3];
    loads.extend([500; 22]);
    let sizes = sizes(json!({}), &loads);
    assert_eq!(sizes[2], 4);
    let shrunk = sizes.iter().rposition(|size| *size == 4).unwrap();
    // The last high recommendation was at the third pass; 300 seconds are twenty passes.
    assert_eq!((shrunk, sizes[24]), (21, 1));
}

#[test]
fn a_policy_counts_what_was_changed_within_its_period() {
    let policy = json!({"type": "Pods", "value": 2, "periodSeconds": 30});
    let spec = json!({"behavior": {"scaleUp": {"policies": [policy]}}});
    assert_eq!(sizes(spec, &[9000; 6]), [3, 3, 5, 5, 7, 7]);
}

proptest! {
    /// Whatever the load does, the size stays within its bounds.
    #[test]
    fn the_size_stays_within_its_bounds(
        loads in proptest::collection::vec(0..20_000_i64, 1..60),
        least in 1..4_i32,
        window in 0..120_i32,
    ) {
        let spec = json!({"minReplicas": least, "maxReplicas": 7,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": window}}});
        for size in sizes(spec, &loads) {
            prop_assert!((least..=7).contains(&size));
        }
    }
}
