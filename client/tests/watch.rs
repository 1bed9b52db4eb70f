//! A cache against a server that misbehaves by script: what it asks, and what it holds afterwards.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says what went wrong by panicking"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use coracle_client::{Cache, Client, Scope};
use expect_test::{Expect, expect};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use serde_json::{Value, json};

/// One answer of the server.
enum Answer {
    /// A status code and a body.
    Json(u16, Value),
    /// A watch that sends lines and then ends.
    Ends(Vec<Value>),
    /// A watch that sends lines and then breaks.
    Breaks(Vec<Value>),
    /// A watch that sends lines and stays open.
    Stays(Vec<Value>),
}

type Frames = BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>;

fn lines(events: Vec<Value>) -> Frames {
    let frame = |event: Value| Ok(Frame::data(Bytes::from(format!("{event}\n"))));
    stream::iter(events.into_iter().map(frame)).boxed()
}

fn respond(answer: Answer) -> Response<StreamBody<Frames>> {
    let (code, frames) = match answer {
        Answer::Json(code, value) => (code, lines(vec![value])),
        Answer::Ends(events) => (200, lines(events)),
        Answer::Stays(events) => (200, lines(events).chain(stream::pending()).boxed()),
        Answer::Breaks(events) => {
            let broken = stream::once(async { Err(std::io::ErrorKind::ConnectionReset.into()) });
            (200, lines(events).chain(broken).boxed())
        }
    };
    Response::builder().status(code).body(StreamBody::new(frames)).unwrap()
}

fn map(name: &str, revision: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a",
        "uid": name, "resourceVersion": revision.to_string()}})
}

fn list(revision: u64, items: &[Value]) -> Answer {
    Answer::Json(
        200,
        json!({"kind": "ConfigMapList", "apiVersion": "v1",
        "metadata": {"resourceVersion": revision.to_string()}, "items": items}),
    )
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code})
}

/// Runs a cache over a script until it holds what its last answer says (`done` at a revision).
async fn check(script: Vec<Answer>, done_at: u64, expected: Expect) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let query =
            request.uri().query().unwrap_or_default().replace("&allowWatchBookmarks=true", "");
        log.lock()
            .unwrap()
            .push(query.replace("&timeoutSeconds=290", "").replace("timeoutSeconds=290&", ""));
        let answer = script.lock().unwrap().pop_front().unwrap_or(Answer::Stays(vec![]));
        async move { Ok::<_, Infallible>(respond(answer)) }
    });
    let cache: Cache<ConfigMap> = Cache::start(&Client::in_process(service), Scope::all());
    let held = async {
        cache.wait_synced().await;
        let mut changes = cache.subscribe();
        while cache.revision() < done_at {
            changes.next().await;
        }
    };
    // Paused time: passes only when nothing else can happen any more.
    tokio::time::timeout(Duration::from_secs(300), held).await.expect("the cache comes to its end");
    let held = cache.list();
    let one = |map: &Arc<ConfigMap>| {
        let meta = &map.metadata;
        format!("{}@{}", meta.name.as_deref().unwrap(), meta.resource_version.as_deref().unwrap())
    };
    let held: Vec<String> = held.iter().map(one).collect();
    let asked = asked.lock().expect("no panic in the service").join("\n");
    expected.assert_eq(&format!("{asked}\n= {}", held.join(" ")));
}

#[tokio::test(start_paused = true)]
async fn it_lists_and_then_follows() {
    let events = vec![event("ADDED", map("y", 6)), event("DELETED", map("x", 7))];
    check(
        vec![list(5, &[map("x", 3)]), Answer::Stays(events)],
        7,
        expect![[r#"
        &limit=500
        &watch=true&resourceVersion=5
        = y@6"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_or_breaks_is_resumed_where_it_was() {
    let bookmark = json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"resourceVersion": "9"}}});
    let script = vec![
        list(5, &[]),
        Answer::Ends(vec![event("ADDED", map("x", 6))]),
        Answer::Breaks(vec![bookmark]),
        Answer::Json(503, status(503, "ServiceUnavailable")),
        Answer::Stays(vec![event("MODIFIED", map("x", 12))]),
    ];
    check(
        script,
        12,
        expect![[r#"
        &limit=500
        &watch=true&resourceVersion=5
        &watch=true&resourceVersion=6
        &watch=true&resourceVersion=9
        &watch=true&resourceVersion=9
        = x@12"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_revision_leads_to_a_new_list() {
    let gone = event("ERROR", status(410, "Expired"));
    let script = vec![
        list(5, &[map("x", 3), map("y", 4)]),
        Answer::Ends(vec![gone]),
        list(20, &[map("y", 15)]),
        Answer::Json(410, status(410, "Expired")),
        list(30, &[map("y", 15), map("z", 25)]),
        Answer::Stays(vec![event("ADDED", map("q", 31))]),
    ];
    check(
        script,
        31,
        expect![[r#"
        &limit=500
        &watch=true&resourceVersion=5
        &limit=500
        &watch=true&resourceVersion=20
        &limit=500
        &watch=true&resourceVersion=30
        = q@31 y@15 z@25"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_list_is_tried_again_and_pages_are_joined() {
    let page =
        json!({"metadata": {"resourceVersion": "5", "continue": "next"}, "items": [map("x", 1)]});
    let script = vec![
        Answer::Json(500, status(500, "InternalError")),
        Answer::Json(200, page),
        list(5, &[map("y", 2)]),
    ];
    check(
        script,
        5,
        expect![[r#"
        &limit=500
        &limit=500
        &limit=500&continue=next
        &watch=true&resourceVersion=5
        = x@1 y@2"#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_fit_is_left_out_alone() {
    let mut bad = map("bad", 4);
    bad["data"] = json!("not a map");
    let script = vec![
        list(5, &[bad.clone(), map("x", 3)]),
        Answer::Stays(vec![event("MODIFIED", bad), event("ADDED", map("y", 6))]),
    ];
    check(
        script,
        6,
        expect![[r#"
        &limit=500
        &watch=true&resourceVersion=5
        = x@3 y@6"#]],
    )
    .await;
}

/// Row `cp.loop`: level, not edge. One event of each kind is never sent.
#[tokio::test(start_paused = true)]
async fn events_that_were_lost_are_made_good_by_a_later_list() {
    let n_lists = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&n_lists);
    let service = tower::service_fn(move |request: Request<Body>| {
        let watches = request.uri().query().unwrap_or_default().contains("watch=true");
        let mut n_lists = counted.lock().unwrap();
        let answer = match (watches, *n_lists) {
            (true, _) => Answer::Stays(vec![]),
            (false, 0) => list(5, &[map("changed", 2), map("deleted", 3), map("same", 4)]),
            (false, _) => list(9, &[map("added", 8), map("changed", 9), map("same", 4)]),
        };
        *n_lists += u32::from(!watches);
        async move { Ok::<_, Infallible>(respond(answer)) }
    });
    let cache: Cache<ConfigMap> = Cache::start(&Client::in_process(service), Scope::all());
    cache.wait_synced().await;
    let mut changes = cache.subscribe();
    let mut told = Vec::new();
    // Paused time: half an hour passes at once, as nothing else can happen.
    let reading = async {
        loop {
            let change = changes.next().await;
            let version = change.new.as_ref().and_then(|new| new.metadata.resource_version.clone());
            told.push(format!("{} {}", change.key.name, version.as_deref().unwrap_or("gone")));
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(1_800), reading).await;
    assert!(ended.is_err(), "changes never end");
    told[3..].sort();
    assert_eq!(told[3..], ["added 8", "changed 9", "deleted gone"], "{told:?}");
    let n_lists = *n_lists.lock().unwrap();
    assert!((2..=4).contains(&n_lists), "{n_lists} lists in half an hour");
}
