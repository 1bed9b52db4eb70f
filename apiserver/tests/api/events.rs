//! Events in both of their versions: one stored object, two sets of names.

use crate::harness::{Session, check};
use expect_test::expect;
use http_body_util::BodyExt;
use serde_json::Value;

const EVENT: &str = r#"
POST /apis/events.k8s.io/v1/namespaces/default/events | /apiVersion /note /regarding /reportingController /deprecatedSource /message
{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"e"},"eventTime":"2026-01-01T00:00:00.000000Z","reportingController":"example.com/c","reportingInstance":"c-1","action":"Doing","reason":"Done","type":"Normal","note":"it is done","regarding":{"kind":"Pod","name":"p","namespace":"default"}}
"#;

#[tokio::test]
async fn one_object_in_two_versions() {
    check(
        &format!(
            r#"{EVENT}
GET /api/v1/namespaces/default/events/e | /apiVersion /message /involvedObject/name /reportingComponent /note

GET /apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Dp,reportingController%3Dexample.com/c | /apiVersion /kind /items/0/apiVersion /items/0/note

GET /apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Dq | /items

PATCH /apis/events.k8s.io/v1/namespaces/default/events/e | /apiVersion /series/count /note
Content-Type: application/merge-patch+json
{{"series":{{"count":2,"lastObservedTime":"2026-01-01T00:00:01.000000Z"}}}}

PATCH /apis/events.k8s.io/v1/namespaces/default/events/e?fieldValidation=Strict
Content-Type: application/strategic-merge-patch+json
{{"message":"no such field here"}}

POST /apis/events.k8s.io/v1/namespaces/default/events
{{"apiVersion":"v1","kind":"Event","metadata":{{"name":"f"}}}}

DELETE /apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Dp | /apiVersion /items/0/note

GET /api/v1/namespaces/default/events/e
"#
        ),
        expect![[r#"
            201
              /apiVersion "events.k8s.io/v1"
              /note "it is done"
              /regarding {"kind":"Pod","name":"p","namespace":"default"}
              /reportingController "example.com/c"
              /deprecatedSource {}
              /message -
            200
              /apiVersion "v1"
              /message "it is done"
              /involvedObject/name "p"
              /reportingComponent "example.com/c"
              /note -
            200
              /apiVersion "events.k8s.io/v1"
              /kind "EventList"
              /items/0/apiVersion "events.k8s.io/v1"
              /items/0/note "it is done"
            200
              /items []
            200
              /apiVersion "events.k8s.io/v1"
              /series/count 2
              /note "it is done"
            422 Invalid:  "" is invalid: patch: Invalid value: "{\"message\":\"no such field here\"}": strict decoding error: unknown field "message"
              {"causes":[{"field":"patch","message":"Invalid value: \"{\\\"message\\\":\\\"no such field here\\\"}\": strict decoding error: unknown field \"message\"","reason":"FieldValueInvalid"}]}
            400 BadRequest: the API version in the data (v1) does not match the expected API version (events.k8s.io/v1)
            200
              /apiVersion "events.k8s.io/v1"
              /items/0/note "it is done"
            404 NotFound: events "e" not found
              {"kind":"events","name":"e"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_watch_shows_the_version_of_its_path() {
    let session = Session::start().await;
    session.value(EVENT.trim()).await;
    let path = "/apis/events.k8s.io/v1/namespaces/default/events?watch=true";
    let mut body = session.send(&format!("GET {path}")).await.into_body();
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!(event["object"]["note"], "it is done");
    assert_eq!(event["object"]["apiVersion"], "events.k8s.io/v1");
}
