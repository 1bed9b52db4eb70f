//! Both ways, and that each comes to rest.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::{Action, Observed, reconcile};

fn observed(selector: Value, endpoints: Option<Value>, slices: Vec<Value>) -> Observed {
    let service = json!({"metadata": {"name": "web", "namespace": "a", "uid": "s"},
        "spec": {"selector": selector}});
    let read = |slice: Value| Arc::new(serde_json::from_value(slice).unwrap());
    Observed {
        service: Some(Arc::new(serde_json::from_value(service).unwrap())),
        endpoints: endpoints.map(|one| Arc::new(serde_json::from_value(one).unwrap())),
        slices: slices.into_iter().map(read).collect(),
    }
}

/// `address state`, with states ready, waiting and leaving.
fn slice(endpoints: &[(&str, &str)]) -> Value {
    let endpoint = |(ip, state): &(&str, &str)| {
        json!({"addresses": [ip], "conditions": {"ready": *state == "ready",
            "terminating": *state == "leaving"}})
    };
    json!({"metadata": {"name": "web-x", "namespace": "a", "labels": {
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>()})
}

fn apply(seen: &mut Observed, action: Action) -> String {
    match action {
        Action::Create(new) | Action::Update(new) => {
            let line = format!("endpoints {}", json!(new.subsets));
            seen.endpoints = Some(Arc::new(*new));
            line
        }
        Action::Delete(_) => {
            seen.endpoints = None;
            "no endpoints".to_owned()
        }
        Action::CreateSlice(mut slice) => {
            slice.metadata.name = Some(format!("made{}", seen.slices.len()));
            let line = format!("slice {}", show(&slice));
            seen.slices.push(Arc::new(*slice));
            line
        }
        Action::UpdateSlice(slice) => {
            let line = format!("slice becomes {}", show(&slice));
            seen.slices.retain(|other| other.metadata.name != slice.metadata.name);
            seen.slices.push(Arc::new(*slice));
            line
        }
        Action::DeleteSlice(slice) => {
            seen.slices.retain(|other| *other != slice);
            "no slice".to_owned()
        }
    }
}

fn show(slice: &EndpointSlice) -> String {
    let ports = slice.ports.iter().flatten().filter_map(|port| port.port);
    let ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        let on = endpoint.conditions.as_ref().is_some_and(|c| c.ready == Some(true));
        format!("{}{}", endpoint.addresses[0], if on { "" } else { "?" })
    };
    let all: Vec<String> = slice.endpoints.iter().map(ready).collect();
    format!("{} {:?} {}", slice.address_type, ports.collect::<Vec<_>>(), all.join(" "))
}

fn check(mut seen: Observed, expected: Expect) -> Observed {
    let actions = reconcile(&seen);
    let lines: Vec<String> = actions.into_iter().map(|action| apply(&mut seen, action)).collect();
    expected.assert_eq(&lines.join("\n"));
    assert_eq!(reconcile(&seen), [], "at rest");
    seen
}

#[test]
fn endpoints_tell_what_the_slices_tell() {
    let selector = json!({"app": "web"});
    let slices = slice(&[
        ("10.0.0.2", "ready"),
        ("10.0.0.1", "ready"),
        ("10.0.0.3", "waiting"),
        ("10.0.0.4", "leaving"),
    ]);
    let mut seen = check(
        observed(selector.clone(), None, vec![slices]),
        expect![[
            r#"endpoints [{"addresses":[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}],"notReadyAddresses":[{"ip":"10.0.0.3"}],"ports":[{"port":8080,"protocol":"TCP"}]}]"#
        ]],
    );
    seen.slices = vec![Arc::new(serde_json::from_value(slice(&[])).unwrap())];
    let mut seen = check(seen, expect!["endpoints null"]);
    seen.service = None;
    check(seen, expect!["no endpoints"]);
    // Before there are slices, nothing is known.
    check(observed(selector, None, vec![]), expect![""]);
}

#[test]
fn more_addresses_than_fit_are_cut_off_and_that_is_told() {
    let ips: Vec<String> =
        (0..=super::ADDRESSES_MAX).map(|n| format!("10.0.{}.{}", n / 250, n % 250)).collect();
    let all: Vec<(&str, &str)> = ips.iter().map(|ip| (ip.as_str(), "ready")).collect();
    let actions = reconcile(&observed(json!({"a": "b"}), None, vec![slice(&all)]));
    let [Action::Create(made)] = actions.as_slice() else { panic!("{}", actions.len()) };
    let made: &Endpoints = made;
    let n = made.subsets.as_ref().unwrap()[0].addresses.as_ref().unwrap().len();
    assert_eq!(n, super::ADDRESSES_MAX);
    let annotations = made.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations["endpoints.kubernetes.io/over-capacity"], "truncated");
}

fn hand_made(extra: Value) -> Value {
    let mut endpoints = json!({"metadata": {"name": "web", "namespace": "a", "uid": "e"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
            "notReadyAddresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 5432}]}]});
    for (field, value) in extra.as_object().into_iter().flatten() {
        endpoints["metadata"][field] = value.clone();
    }
    endpoints
}

#[test]
fn what_a_user_writes_is_mirrored_and_follows() {
    let mut seen = check(
        observed(json!(null), Some(hand_made(json!({}))), vec![]),
        expect![[r#"
            slice IPv4 [5432] 192.0.2.1 192.0.2.2?
            slice IPv6 [5432] 2001:db8::1"#]],
    );
    let mut changed = hand_made(json!({}));
    changed["subsets"][0]["addresses"] = json!([{"ip": "192.0.2.9"}]);
    seen.endpoints = Some(Arc::new(serde_json::from_value(changed).unwrap()));
    let mut seen = check(
        seen,
        expect![[r#"
            slice becomes IPv4 [5432] 192.0.2.9 192.0.2.2?
            no slice"#]],
    );
    seen.endpoints = None;
    check(seen, expect!["no slice"]);
}

#[test]
fn what_is_to_be_skipped_is_not_mirrored() {
    let skipped = json!({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}});
    check(observed(json!(null), Some(hand_made(skipped)), vec![]), expect![""]);
    let lock = json!({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}});
    check(observed(json!(null), Some(hand_made(lock)), vec![]), expect![""]);
}
