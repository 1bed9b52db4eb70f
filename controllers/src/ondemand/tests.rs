//! When pods go and come back.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The clock stands at 1,000 s after the epoch; objects were made at 0.
const NOW: i64 = 1_000;

fn time(seconds: i64) -> Value {
    json!(Timestamp::from_second(seconds).unwrap().to_string())
}

/// One annotation, or none.
fn annotations(key: &str, value: Option<&str>) -> Value {
    value.map_or(json!({}), |value| json!({key: value}))
}

fn service(idle: Option<&str>, used: Option<i64>) -> Arc<Service> {
    let conditions: Vec<Value> = used
        .into_iter()
        .map(|at| {
            json!({"type": IN_USE, "status": "True", "reason": "Connection", "message": "",
                "lastTransitionTime": time(at)})
        })
        .collect();
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "d", "creationTimestamp": time(0),
                "annotations": annotations(IDLE, idle)},
            "spec": {"selector": {"app": "web"}},
            "status": {"conditions": conditions},
        }))
        .unwrap(),
    )
}

fn deployment(app: &str, replicas: i32, before: Option<&str>) -> Arc<Deployment> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": app, "namespace": "d", "creationTimestamp": time(0),
                "annotations": annotations(REMEMBERED, before)},
            "spec": {"replicas": replicas, "selector": {},
                "template": {"metadata": {"labels": {"app": app, "x": "y"}}}},
        }))
        .unwrap(),
    )
}

fn check(service: &Arc<Service>, deployments: &[Arc<Deployment>], expected: &str) {
    let now = Timestamp::from_second(NOW).unwrap();
    let last_use = Heard::first(service, now).at;
    let deployments = deployments.to_vec();
    let found =
        match reconcile(&Observed { service: Arc::clone(service), deployments, last_use }, now) {
            Verdict::NotOnDemand => "not on demand".to_owned(),
            Verdict::Unreadable(text) => text,
            Verdict::Scale(all, again) => {
                let show = |one: &Scale| {
                    let name = one.deployment.metadata.name.as_deref().unwrap_or_default();
                    format!("{name} to {}, ", one.replicas)
                };
                let all: String = all.iter().map(show).collect();
                format!("{all}again {again:?}")
            }
        };
    assert_eq!(found, expected);
}

#[test]
fn unused_deployments_rest_and_used_ones_stay() {
    let web = [deployment("web", 3, None), deployment("other", 2, None)];
    check(&service(Some("60s"), None), &web, "web to 0, again None");
    check(&service(Some("60s"), Some(990)), &web, "again Some(50s)");
    check(&service(Some("60s"), Some(940)), &web, "web to 0, again None");
    check(&service(Some("20m"), None), &web, "again Some(200s)");
}

#[test]
fn a_wanted_one_gets_back_what_it_had() {
    let used = service(Some("60s"), Some(NOW));
    check(&used, &[deployment("web", 0, Some("3"))], "web to 3, again Some(60s)");
    check(&used, &[deployment("web", 0, None)], "web to 1, again Some(60s)");
    check(&used, &[deployment("web", 0, Some("x"))], "web to 1, again Some(60s)");
    check(&used, &[deployment("other", 0, Some("3"))], "again Some(60s)");
    let rested = service(Some("60s"), Some(900));
    check(&rested, &[deployment("web", 0, Some("3"))], "again None");
}

#[test]
fn a_word_counts_from_when_it_came_whatever_the_clock_of_the_host_says() {
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let says = |used: Option<i64>| service(Some("60s"), used);
    // Of what was there before we were, only what it says is known; the future is now.
    assert_eq!(Heard::first(&says(None), at(NOW)).at, None);
    assert_eq!(Heard::first(&says(Some(900)), at(NOW)).at, Some(at(900)));
    assert_eq!(Heard::first(&says(Some(9_000)), at(NOW)).at, Some(at(NOW)));
    // Hosts whose clocks are behind, and ahead.
    let heard = Heard::first(&says(None), at(NOW)).then(&says(Some(10)), at(NOW + 5));
    assert_eq!(heard.at, Some(at(NOW + 5)));
    let heard = heard.then(&says(Some(10)), at(NOW + 9));
    assert_eq!(heard.at, Some(at(NOW + 5)), "the same word is no news");
    let heard = heard.then(&says(Some(9_000)), at(NOW + 10));
    assert_eq!(heard.at, Some(at(NOW + 10)));
    assert_eq!(heard.then(&says(Some(11)), at(NOW + 11)).at, Some(at(NOW + 11)));
}

#[test]
fn annotations_that_cannot_be_read_change_nothing() {
    for text in ["soon", "1s", "-5s", ""] {
        check(
            &service(Some(text), None),
            &[deployment("web", 3, None)],
            &format!(
                "annotation {IDLE}: \"{text}\" is no time of at least 2 s: \
                 write it as \"60s\" or \"5m\""
            ),
        );
    }
    check(&service(None, None), &[deployment("web", 3, None)], "not on demand");
}

proptest! {
    /// Once carried out, the same knowledge asks for nothing more.
    #[test]
    fn reconciling_is_idempotent(used in 0_i64..NOW, replicas in 0_i32..5, idle in 2_i64..900) {
        let service = service(Some(&format!("{idle}s")), None);
        let first = Observed {
            service: Arc::clone(&service),
            deployments: vec![deployment("web", replicas, None)],
            last_use: Some(Timestamp::from_second(used).unwrap()),
        };
        let now = Timestamp::from_second(NOW).unwrap();
        let Verdict::Scale(scales, _) = reconcile(&first, now) else { panic!("not on demand") };
        let after = scales.first().map_or(replicas, |scale| scale.replicas);
        let deployments = vec![deployment("web", after, Some("2"))];
        let second = Observed { service, deployments, last_use: first.last_use };
        let Verdict::Scale(scales, _) = reconcile(&second, now) else { panic!("not on demand") };
        prop_assert_eq!(scales, vec![]);
    }
}
