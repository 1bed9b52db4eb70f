//! API priority and fairness as clients see it: where a request belonged, and schemas whose level is missing.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Session, header};

const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

async fn uid(session: &Session, resource: &str, name: &str) -> String {
    let object = session.value(&format!("GET {GROUP}/{resource}/{name}")).await;
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn answers_say_where_their_request_belonged() {
    let session = Session::start().await;
    let answer = session.send("GET /api/v1/namespaces").await;
    let told = |name: &str| header(answer.headers(), name).to_owned();
    assert_eq!(
        told("x-kubernetes-pf-flowschema-uid"),
        uid(&session, "flowschemas", "exempt").await
    );
    assert_eq!(
        told("x-kubernetes-pf-prioritylevel-uid"),
        uid(&session, "prioritylevelconfigurations", "exempt").await
    );
}

/// Waits until an object fulfils a condition.
async fn until(session: &Session, path: &str, holds: fn(&Value) -> bool) {
    let look = async {
        while !holds(&session.value(&format!("GET {GROUP}/{path}")).await) {
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(120), look).await;
    assert!(outcome.is_ok(), "{path} does not become so");
}

#[tokio::test]
async fn a_missing_level_is_told_and_mandatory_objects_come_back() {
    let session = Session::start().await;
    let schema = r#"{"metadata":{"name":"own"},"spec":{"priorityLevelConfiguration":{"name":"nosuch"},"matchingPrecedence":50,"rules":[]}}"#;
    session.run(&format!("POST {GROUP}/flowschemas | /metadata/name\n{schema}")).await;
    until(&session, "flowschemas/own", |found| {
        found["status"]["conditions"][0]["status"] == "True"
    })
    .await;
    until(&session, "flowschemas/global-default", |found| {
        found["status"]["conditions"][0]["status"] == "False"
    })
    .await;
    session.run(&format!("DELETE {GROUP}/flowschemas/catch-all | /status")).await;
    until(&session, "flowschemas/catch-all", |found| found["kind"] == "FlowSchema").await;
    let change = r#"{"spec":{"matchingPrecedence":7}}"#;
    session
        .run(&format!("PATCH {GROUP}/flowschemas/catch-all | /spec\nContent-Type: application/merge-patch+json\n{change}"))
        .await;
    until(&session, "flowschemas/catch-all", |found| found["spec"]["matchingPrecedence"] == 10_000)
        .await;
}

#[tokio::test]
async fn a_watch_has_seats_until_its_events_begin() {
    let session = Session::start().await;
    let user = coracle_apiserver::authn::UserInfo::new("ann", []);
    session.run_as(user, "GET /api/v1/pods?watch=true&sendInitialEvents=true").await;
    let metrics = session.run("GET /metrics").await;
    let labels = r#"{priority_level="global-default",flow_schema="global-default"}"#;
    for line in ["dispatched_requests_total LABELS 1", "current_executing_requests LABELS 0"] {
        let line = format!("apiserver_flowcontrol_{}", line.replace(" LABELS", labels));
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}
