//! Places, turns, limits, borrowed seats, and those who stop waiting.

use super::*;
use crate::query::Query;
use http::Method;
use serde_json::json;
use std::collections::HashMap;
use tokio::sync::oneshot;

/// The objects of every cluster, as they are stored.
fn cluster() -> (Vec<Value>, Vec<Value>) {
    let mut all = defaults();
    for object in &mut all {
        let uid = format!(
            "{}-{}",
            object["kind"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap()
        );
        object["metadata"]["uid"] = json!(uid);
    }
    all.into_iter().partition(|object| object["kind"] == "FlowSchema")
}

fn request(method: &Method, path: &str) -> RequestInfo {
    RequestInfo::parse(method, path, &Query::default())
}

#[test]
fn requests_belong_to_the_schema_that_takes_them_first() {
    let flows = Flows::default();
    let (schemas, levels) = cluster();
    flows.publish(&schemas, &levels);
    let check = |user: &str, groups: &[&str], method: Method, path: &str, expected: &str| {
        let user = UserInfo::new(user, groups.iter().copied());
        let place = flows.place(&user, &request(&method, path)).unwrap();
        let found =
            format!("{} {}", place.schema_uid.to_str().unwrap(), place.level_uid.to_str().unwrap());
        let expected = expected.split_once(' ').unwrap();
        assert_eq!(
            found,
            format!("FlowSchema-{} PriorityLevelConfiguration-{}", expected.0, expected.1)
        );
    };
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x";
    let nodes = ["system:nodes"];
    let accounts = ["system:serviceaccounts"];
    check("root", &["system:masters"], Method::GET, "/api/v1/pods", "exempt exempt");
    check("ann", &[], Method::GET, "/healthz", "probes exempt");
    check("ann", &[], Method::GET, "/healthz/ping", "global-default global-default");
    check(
        "system:kube-scheduler",
        &[],
        Method::PUT,
        lease,
        "system-leader-election leader-election",
    );
    check(
        "system:kube-scheduler",
        &[],
        Method::GET,
        "/api/v1/pods",
        "kube-scheduler workload-high",
    );
    check(
        "system:node:a",
        &nodes,
        Method::PATCH,
        "/api/v1/nodes/a/status",
        "system-node-high node-high",
    );
    check("system:node:a", &nodes, Method::GET, "/api/v1/pods", "system-nodes system");
    check(
        "system:serviceaccount:qa:x",
        &accounts,
        Method::GET,
        "/api/v1/pods",
        "service-accounts workload-low",
    );
    check(
        "system:serviceaccount:kube-system:x",
        &accounts,
        Method::GET,
        "/api/v1/pods",
        "kube-system-service-accounts workload-high",
    );
    check("ann", &[], Method::GET, "/api/v1/pods", "global-default global-default");
}

/// One level of all seats with a few queues for everybody, and one that lends.
fn flows(queues: u64, hand: u64, length: u64, lent: u64) -> Flows {
    let level = |name: &str, shares: u64, lent: u64| {
        json!({"metadata": {"name": name, "uid": name}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": lent, "limitResponse": {"type": "Queue",
            "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": length}}}}})
    };
    let schema = json!({"metadata": {"name": "all", "uid": "all"}, "spec": {
        "priorityLevelConfiguration": {"name": "one"}, "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [{"kind": "Group", "group": {"name": "*"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}});
    let flows = Flows::default();
    // Shares are such that the first level has one seat.
    flows.publish(&[schema], &[level("one", 1, 0), level("other", 599, lent)]);
    flows
}

fn place(flows: &Flows, name: &str) -> Place {
    flows.place(&UserInfo::new(name, []), &request(&Method::GET, "/version")).unwrap()
}

async fn seat(flows: &Flows, name: &str) -> Seat {
    flows.enter(&place(flows, name), 1).await.unwrap()
}

/// Joins a queue without waiting; the receiver gets the seat.
fn queue(flows: &Flows, name: &str) -> oneshot::Receiver<Seat> {
    let place = place(flows, name);
    match flows.0.seats.lock().arrive(&place.level, place.flow, 1) {
        Arrival::Waits(ticket) => ticket,
        Arrival::Exempt | Arrival::Seated(..) | Arrival::Refused(_) => {
            panic!("{name} does not wait")
        }
    }
}

#[tokio::test]
async fn queues_take_turns() {
    let flows = flows(1000, 1, 10, 0);
    let first = seat(&flows, "loud").await;
    let mut waiting: Vec<_> =
        ["loud", "loud", "loud", "quiet", "third"].map(|name| (name, queue(&flows, name))).into();
    let mut order = Vec::new();
    let mut current = first;
    while !waiting.is_empty() {
        drop(current);
        let index = waiting.iter_mut().position(|(_, ticket)| !ticket.is_empty()).unwrap();
        let (name, ticket) = waiting.remove(index);
        order.push(name);
        current = ticket.await.unwrap();
    }
    // Which of those who had nothing is first is up to their queues.
    order.get_mut(..2).unwrap().sort_unstable();
    assert_eq!(order, ["quiet", "third", "loud", "loud", "loud"]);
    drop(current);
    assert_eq!(flows.0.seats.lock().seated(), 0);
}

#[tokio::test]
async fn one_more_than_the_queue_takes_is_refused() {
    let flows = flows(1000, 1, 2, 0);
    let held = seat(&flows, "loud").await;
    let tickets = [queue(&flows, "loud"), queue(&flows, "loud")];
    let refused = flows.enter(&place(&flows, "loud"), 1).await.unwrap_err();
    assert_eq!((refused.code(), refused.retry_after_seconds()), (429, Some(1)));
    // Others wait in queues of their own.
    let quiet = queue(&flows, "quiet");
    // Those who stop waiting make room.
    drop(tickets);
    let last = queue(&flows, "loud");
    drop(held);
    drop(quiet.await.unwrap());
    drop(last.await.unwrap());
    assert_eq!(flows.0.seats.lock().seated(), 0);
}

#[tokio::test]
async fn a_flood_fills_its_own_hand_alone() {
    let flows = flows(64, 2, 3, 0);
    let _held = seat(&flows, "loud").await;
    let _tickets: Vec<_> = (0..6).map(|_| queue(&flows, "loud")).collect();
    assert!(flows.enter(&place(&flows, "loud"), 1).await.is_err());
    let others = (0..50).map(|index| format!("quiet-{index}"));
    let let_in = others.filter(|name| {
        let place = place(&flows, name);
        matches!(flows.0.seats.lock().arrive(&place.level, place.flow, 1), Arrival::Waits(_))
    });
    assert!(let_in.count() >= 48, "hardly anybody shares both queues of the flood");
}

#[tokio::test]
async fn seats_that_others_lend_are_borrowed_and_given_back() {
    let without = flows(4, 1, 3, 0);
    let _own = seat(&without, "a").await;
    drop(queue(&without, "a"));
    let lent = flows(4, 1, 3, 50);
    let mut all = Vec::new();
    for _ in 0..300 {
        all.push(seat(&lent, "a").await);
    }
    // One of its own, and half of the other level's 599.
    let waiting = queue(&lent, "a");
    all.pop();
    drop(waiting.await.unwrap());
    drop(all);
    assert_eq!(lent.0.seats.lock().seated(), 0);
}

#[tokio::test]
async fn a_seat_that_nobody_takes_is_free_again() {
    let flows = flows(1000, 1, 10, 0);
    let held = seat(&flows, "a").await;
    let ticket = queue(&flows, "b");
    drop(held);
    // The seat is on its way to somebody who does not wait any more.
    drop(ticket);
    drop(seat(&flows, "c").await);
    assert_eq!(flows.0.seats.lock().seated(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused() {
    let flows = flows(4, 1, 3, 0);
    let _held = seat(&flows, "a").await;
    let refused = flows.enter(&place(&flows, "b"), 1).await.unwrap_err();
    assert_eq!(refused.code(), 429);
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_shown_under_upstreams_names() {
    let flows = flows(4, 1, 1, 0);
    let mut registry = prometheus_client::registry::Registry::default();
    flows.0.measures.register(&mut registry);
    let shows = |line: &str| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = format!("apiserver_flowcontrol_{line}");
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    };
    let labels = r#"priority_level="one",flow_schema="all""#;
    shows(r#"nominal_limit_seats{priority_level="other"} 599"#);
    shows(r#"lower_limit_seats{priority_level="one"} 1"#);
    shows(r#"upper_limit_seats{priority_level="one"} 600"#);
    let held = seat(&flows, "a").await;
    shows(&format!("current_executing_requests{{{labels}}} 1"));
    shows(&format!("current_executing_seats{{{labels}}} 1"));
    // The first waits in vain, the second may not even wait.
    let place = place(&flows, "a");
    let (late, full) = tokio::join!(flows.enter(&place, 1), flows.enter(&place, 1));
    assert!(late.is_err() && full.is_err());
    shows(&format!(r#"rejected_requests_total{{{labels},reason="time-out"}} 1"#));
    shows(&format!(r#"rejected_requests_total{{{labels},reason="queue-full"}} 1"#));
    drop(held);
    shows(&format!("dispatched_requests_total{{{labels}}} 1"));
    shows(&format!("current_executing_seats{{{labels}}} 0"));
    shows(&format!("current_inqueue_requests{{{labels}}} 0"));
    shows(&format!("request_wait_duration_seconds_count{{{labels}}} 1"));
    shows(&format!("request_execution_duration_seconds_count{{{labels}}} 1"));
}

#[test]
fn every_default_is_whole() {
    let (schemas, levels) = cluster();
    let names: HashMap<&str, &Value> =
        levels.iter().map(|level| (level["metadata"]["name"].as_str().unwrap(), level)).collect();
    assert_eq!((schemas.len(), levels.len()), (13, 8));
    for schema in &schemas {
        let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap();
        assert!(names.contains_key(level), "{level}");
    }
}
