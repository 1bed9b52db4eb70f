//! Watches: what they begin with, what they send, how they end.

use expect_test::{Expect, expect};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::harness::Session;
use coracle_apiserver::body::Body;

/// Reads a number of events; each becomes a line of its type and name, or of its object where there is no name.
async fn read(body: &mut Body, count: usize) -> String {
    let mut text = String::new();
    while text.lines().count() < count {
        let frame = body.frame().await.expect("the watch ended early").unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    text.lines().map(line).collect()
}

fn line(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap();
    let object = &event["object"];
    let name = match object["metadata"]["name"].as_str() {
        Some(name) => name.to_owned(),
        None if object["kind"] == "Status" => format!("{} {}", object["code"], object["message"]),
        None if object["kind"] == "Table" => {
            format!("{} {}", object["columnDefinitions"][0]["name"], object["rows"][0]["cells"][0])
        }
        None => format!("{} {}", object["kind"], object["metadata"]["annotations"]),
    };
    format!("{} {name}\n", event["type"].as_str().unwrap())
}

async fn watch(session: &Session, query: &str) -> Body {
    session
        .send(&format!("GET /api/v1/namespaces/default/configmaps?watch=true&{query}"))
        .await
        .into_body()
}

async fn make(session: &Session, name: &str, labels: &str) -> Value {
    let body = format!(r#"{{"metadata":{{"name":"{name}","labels":{labels}}}}}"#);
    session.value(&format!("POST /api/v1/namespaces/default/configmaps\n{body}")).await
}

async fn patch(session: &Session, name: &str, patch: &str) {
    let path = format!("/api/v1/namespaces/default/configmaps/{name}");
    session
        .send(&format!("PATCH {path}\nContent-Type: application/merge-patch+json\n{patch}"))
        .await;
}

fn check(found: String, expected: Expect) {
    expected.assert_eq(&found);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_is_not_older_than_asked_for() {
    let session = Session::start().await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999";
    let path = "/api/v1/namespaces/default/configmaps?watch=true";
    let status = session.value(&format!("GET {path}&{query}")).await;
    assert_eq!(status["code"], 504);
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn begins_with_what_is_there_and_goes_on() {
    let session = Session::start().await;
    make(&session, "a", "{}").await;
    let mut body = watch(&session, "").await;
    make(&session, "b", "{}").await;
    patch(&session, "a", r#"{"data":{"x":"1"}}"#).await;
    session.send("DELETE /api/v1/namespaces/default/configmaps/a").await;
    check(
        read(&mut body, 4).await,
        expect![[r#"
        ADDED a
        ADDED b
        MODIFIED a
        DELETED a
    "#]],
    );
}

#[tokio::test]
async fn goes_on_after_a_revision() {
    let session = Session::start().await;
    let first = make(&session, "a", "{}").await;
    make(&session, "b", "{}").await;
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut body = watch(&session, &format!("resourceVersion={revision}")).await;
    check(
        read(&mut body, 1).await,
        expect![[r#"
        ADDED b
    "#]],
    );
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let session = Session::start().await;
    make(&session, "a", r#"{"x":"1"}"#).await;
    make(&session, "b", "{}").await;
    let mut body = watch(&session, "labelSelector=x%3D1").await;
    patch(&session, "b", r#"{"metadata":{"labels":{"x":"1"}}}"#).await;
    patch(&session, "a", r#"{"metadata":{"labels":{"x":"2"}}}"#).await;
    check(
        read(&mut body, 3).await,
        expect![[r#"
        ADDED a
        ADDED b
        DELETED a
    "#]],
    );
}

#[tokio::test]
async fn a_streaming_list_ends_with_its_bookmark() {
    let session = Session::start().await;
    make(&session, "a", "{}").await;
    let query = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut body = watch(&session, query).await;
    check(
        read(&mut body, 2).await,
        expect![[r#"
        ADDED a
        BOOKMARK "ConfigMap" {"k8s.io/initial-events-end":"true"}
    "#]],
    );
    let query = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut body = watch(&session, query).await;
    make(&session, "b", "{}").await;
    check(
        read(&mut body, 1).await,
        expect![[r#"
        ADDED b
    "#]],
    );
    let answer = session.run("GET /api/v1/configmaps?watch=true&sendInitialEvents=true").await;
    check(
        answer,
        expect![[r#"
        422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan
          {"causes":[{"field":"resourceVersionMatch","message":"Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan","reason":"FieldValueForbidden"}],"group":"meta.k8s.io","kind":"ListOptions"}
    "#]],
    );
}

#[tokio::test]
async fn tables_name_their_columns_once() {
    let session = Session::start().await;
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io";
    make(&session, "a", "{}").await;
    make(&session, "b", "{}").await;
    let request = format!("GET /api/v1/namespaces/default/configmaps?watch=true\n{accept}");
    let mut body = session.send(&request).await.into_body();
    check(
        read(&mut body, 2).await,
        expect![[r#"
        ADDED "Name" "a"
        ADDED null "b"
    "#]],
    );
}

#[tokio::test]
async fn ends_after_its_time_with_a_bookmark() {
    let session = Session::start().await;
    tokio::time::pause();
    let mut body = watch(&session, "timeoutSeconds=5&allowWatchBookmarks=true").await;
    check(
        read(&mut body, 1).await,
        expect![[r#"
        BOOKMARK "ConfigMap" null
    "#]],
    );
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn sends_bookmarks_now_and_then() {
    let session = Session::start().await;
    tokio::time::pause();
    let mut body = watch(&session, "allowWatchBookmarks=true").await;
    check(
        read(&mut body, 2).await,
        expect![[r#"
        BOOKMARK "ConfigMap" null
        BOOKMARK "ConfigMap" null
    "#]],
    );
}

#[tokio::test]
async fn a_revision_that_is_gone_is_410() {
    let session = Session::start().await;
    let first = make(&session, "a", "{}").await;
    make(&session, "b", "{}").await;
    make(&session, "c", "{}").await;
    session.store.compact(session.store.revision()).await.unwrap();
    // The caches hear of a compaction with the next commit.
    make(&session, "d", "{}").await;
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut body = watch(&session, &format!("resourceVersion={revision}")).await;
    let found = read(&mut body, 1).await;
    assert!(found.starts_with("ERROR 410 \"too old resource version"), "{found}");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn one_object_by_its_path() {
    let session = Session::start().await;
    make(&session, "a", "{}").await;
    make(&session, "b", "{}").await;
    let request = "GET /api/v1/namespaces/default/configmaps/b?watch=true";
    let mut body = session.send(request).await.into_body();
    patch(&session, "a", r#"{"data":{"x":"1"}}"#).await;
    patch(&session, "b", r#"{"data":{"x":"1"}}"#).await;
    check(
        read(&mut body, 2).await,
        expect![[r#"
        ADDED b
        MODIFIED b
    "#]],
    );
}

#[tokio::test]
async fn a_server_that_ends_ends_its_watches() {
    let session = Session::start().await;
    let mut body = watch(
        &session,
        "resourceVersion=0&sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
    )
    .await;
    session.server.shut_down();
    assert!(body.frame().await.is_none());
}
