//! Users' kinds whose versions a webhook converts: reads, writes, watches, and objects that are kept in a former version.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expect_test::expect;
use serde_json::{Value, json};

use crate::harness::Session;
use crate::https;

/// Version 1 has `spec.color`, version 2 `spec.paint.color`; nobody converts what is bad.
fn convert(review: &Value) -> Value {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap();
    let objects = request["objects"].as_array().unwrap();
    let bad = objects.iter().any(|object| object["metadata"]["name"] == "bad");
    let result = if bad {
        json!({"status": "Failure", "message": "no way"})
    } else {
        json!({"status": "Success"})
    };
    let converted = objects.iter().map(|object| {
        let mut new = object.clone();
        new["apiVersion"] = json!(wanted);
        new["metadata"]["annotations"] = json!({"from": object["apiVersion"]});
        new["spec"] = match wanted {
            "x.io/v2" => json!({"paint": {"color": object["spec"]["color"]}}),
            _ => json!({"color": object["spec"]["paint"]["color"]}),
        };
        new
    });
    let converted: Vec<Value> = converted.collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "response": {"uid": request["uid"], "result": result, "convertedObjects": converted}})
}

fn definition(port: u16, authority: &str, stored: &str) -> Value {
    let version = |name: &str, path: &str, spec: Value| {
        json!({"name": name, "served": true, "storage": name == stored, "selectableFields": [{"jsonPath": path}], "schema": {"openAPIV3Schema":
            {"type": "object", "properties": {"spec": spec}}}})
    };
    let color = json!({"type": "object", "properties": {"color": {"type": "string"}}});
    let paint = json!({"type": "object", "properties": {"paint": color}});
    json!({"metadata": {"name": "things.x.io"}, "spec": {
        "group": "x.io", "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [version("v1", ".spec.color", color), version("v2", ".spec.paint.color", paint)],
        "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
            "clientConfig": {"url": format!("https://127.0.0.1:{port}/"), "caBundle": STANDARD.encode(authority)}}}}})
}

async fn start() -> (Session, u16, String) {
    let (port, authority) = https::serve(convert).await;
    let session = Session::start().await;
    let body = definition(port, &authority, "v1");
    let create = format!(
        "POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions | /metadata/name\n{body}"
    );
    let made = session.run(&create).await;
    assert!(made.starts_with("201"), "{made}");
    (session, port, authority)
}

const SCRIPT: &str = r#"
POST /apis/x.io/v2/namespaces/default/things | /apiVersion /spec
{"apiVersion":"x.io/v2","kind":"Thing","metadata":{"name":"a"},"spec":{"paint":{"color":"red"}}}

GET /apis/x.io/v1/namespaces/default/things/a | /apiVersion /spec /metadata/annotations

GET /apis/x.io/v2/namespaces/default/things/a | /apiVersion /spec /metadata/annotations

PATCH /apis/x.io/v2/namespaces/default/things/a?fieldManager=patcher | /apiVersion /spec
Content-Type: application/merge-patch+json
{"spec":{"paint":{"color":"blue"}}}

PATCH /apis/x.io/v2/namespaces/default/things/b?fieldManager=applier | /apiVersion /spec
Content-Type: application/apply-patch+yaml
{"apiVersion":"x.io/v2","kind":"Thing","metadata":{"name":"b"},"spec":{"paint":{"color":"green"}}}

PATCH /apis/x.io/v2/namespaces/default/things/b?fieldManager=applier | /apiVersion /spec
Content-Type: application/apply-patch+yaml
{"apiVersion":"x.io/v2","kind":"Thing","metadata":{"name":"b"},"spec":{"paint":{"color":"white"}}}

GET /apis/x.io/v1/namespaces/default/things | /apiVersion /items/0/spec /items/1/spec

GET /apis/x.io/v2/namespaces/default/things | /apiVersion /items/0/spec /items/1/spec

GET /apis/x.io/v1/namespaces/default/things
Accept: application/json;as=Table;v=v1;g=meta.k8s.io

POST /apis/x.io/v2/namespaces/default/things
{"apiVersion":"x.io/v2","kind":"Thing","metadata":{"name":"bad"}}

DELETE /apis/x.io/v2/namespaces/default/things/b | /status
"#;

#[tokio::test]
async fn versions_are_converted_both_ways() {
    let (session, ..) = start().await;
    let script = SCRIPT.replace(
        "GET /apis/x.io/v1/namespaces/default/things\nAccept",
        "GET /apis/x.io/v1/namespaces/default/things | /kind\nAccept",
    );
    expect![[r#"
        201
          /apiVersion "x.io/v2"
          /spec {"paint":{"color":"red"}}
        200
          /apiVersion "x.io/v1"
          /spec {"color":"red"}
          /metadata/annotations {"from":"x.io/v2"}
        200
          /apiVersion "x.io/v2"
          /spec {"paint":{"color":"red"}}
          /metadata/annotations {"from":"x.io/v1"}
        200
          /apiVersion "x.io/v2"
          /spec {"paint":{"color":"blue"}}
        201
          /apiVersion "x.io/v2"
          /spec {"paint":{"color":"green"}}
        200
          /apiVersion "x.io/v2"
          /spec {"paint":{"color":"white"}}
        200
          /apiVersion "x.io/v1"
          /items/0/spec {"color":"blue"}
          /items/1/spec {"color":"white"}
        200
          /apiVersion "x.io/v2"
          /items/0/spec {"paint":{"color":"blue"}}
          /items/1/spec {"paint":{"color":"white"}}
        200
          /kind "Table"
        500 InternalError: Internal error occurred: conversion webhook for Thing from "x.io/v2" to "x.io/v1" failed: no way
          {"causes":[{"message":"conversion webhook for Thing from \"x.io/v2\" to \"x.io/v1\" failed: no way"}]}
        200
          /status "Success"
    "#]].assert_eq(&session.run(&script).await);
    let current = session.value("GET /apis/x.io/v2/namespaces/default/things/a").await;
    let mut changed = current.clone();
    changed["spec"]["paint"]["color"] = json!("black");
    let put = format!("PUT /apis/x.io/v2/namespaces/default/things/a | /spec\n{changed}");
    let again = format!("{put}\n\nGET /apis/x.io/v1/namespaces/default/things/a | /spec\n\n{put}");
    expect![[r#"
        200
          /spec {"paint":{"color":"black"}}
        200
          /spec {"color":"black"}
        409 Conflict: Operation cannot be fulfilled on things.x.io "a": the object has been modified; please apply your changes to the latest version and try again
          {"group":"x.io","kind":"things","name":"a"}
    "#]].assert_eq(&session.run(&again).await);
    let watched = session
        .run("GET /apis/x.io/v2/namespaces/default/things?watch=true&timeoutSeconds=1")
        .await;
    assert!(
        watched.contains(r#""type":"ADDED""#) && watched.contains(r#""paint":{"color":"black"}"#),
        "{watched}"
    );
}

#[tokio::test]
async fn what_is_kept_in_a_former_version_is_migrated() {
    let (session, port, authority) = start().await;
    session
        .run("POST /apis/x.io/v1/namespaces/default/things | /spec\n{\"apiVersion\":\"x.io/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"color\":\"red\"}}")
        .await;
    let patch = json!({"spec": definition(port, &authority, "v2")["spec"]});
    let change = format!(
        "PATCH /apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.x.io | /status/storedVersions\nContent-Type: application/merge-patch+json\n{patch}"
    );
    expect![[r#"
        200
          /status/storedVersions ["v1","v2"]
    "#]]
    .assert_eq(&session.run(&change).await);
    let all = session.store.range(b"", None, 0, None).await.unwrap().items;
    let kept: Vec<Value> = all
        .iter()
        .filter_map(|kv| serde_json::from_slice::<Value>(&kv.value).ok())
        .filter(|value| value["kind"] == "Thing")
        .map(|value| json!([value["apiVersion"], value["spec"]]))
        .collect();
    assert_eq!(kept, [json!(["x.io/v2", {"paint": {"color": "red"}}])]);
    let read = "GET /apis/x.io/v1/namespaces/default/things/a | /apiVersion /spec";
    expect![[r#"
        200
          /apiVersion "x.io/v1"
          /spec {"color":"red"}
    "#]]
    .assert_eq(&session.run(read).await);
}

const THINGS: &str = "/apis/x.io/v1/namespaces/default/things";

#[tokio::test]
async fn each_version_selects_by_its_own_fields() {
    let (session, ..) = start().await;
    let before = session.value(&format!("GET {THINGS}")).await;
    let since = before["metadata"]["resourceVersion"].as_str().unwrap();
    let make = |name: &str, color: &str| {
        format!(
            "POST {THINGS} | /spec/color\n{{\"apiVersion\":\"x.io/v1\",\"kind\":\"Thing\",\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"color\":\"{color}\"}}}}\n\n"
        )
    };
    session.run(&[make("a", "red"), make("b", "green"), make("c", "red")].concat()).await;
    let read = r#"
GET /apis/x.io/v1/namespaces/default/things?fieldSelector=spec.color%3Dred | /items/0/metadata/name /items/1/metadata/name /items/2

GET /apis/x.io/v2/namespaces/default/things?fieldSelector=spec.paint.color%3Dred | /items/0/spec /items/1/metadata/name /items/2

GET /apis/x.io/v2/namespaces/default/things?fieldSelector=spec.paint.color%3Dred,metadata.name%3Dc | /items/0/metadata/name /items/1

GET /apis/x.io/v2/namespaces/default/things?fieldSelector=spec.paint.color%21%3Dred | /items/0/metadata/name /items/1

GET /apis/x.io/v2/namespaces/default/things?fieldSelector=spec.color%3Dred

GET /apis/x.io/v1/namespaces/default/things?fieldSelector=spec.paint.color%3Dred
"#;
    expect![[r#"
        200
          /items/0/metadata/name "a"
          /items/1/metadata/name "c"
          /items/2 -
        200
          /items/0/spec {"paint":{"color":"red"}}
          /items/1/metadata/name "c"
          /items/2 -
        200
          /items/0/metadata/name "c"
          /items/1 -
        200
          /items/0/metadata/name "b"
          /items/1 -
        400 BadRequest: field label not supported: spec.color
        400 BadRequest: field label not supported: spec.paint.color
    "#]]
    .assert_eq(&session.run(read).await);
    selected_things_are_watched_and_deleted(&session, since).await;
}

/// Of the red `a` and `c` and the green `b`, from the revision before them.
async fn selected_things_are_watched_and_deleted(session: &Session, since: &str) {
    let paint = |name: &str, color: &str| {
        format!(
            "PATCH {THINGS}/{name} | /spec/color\nContent-Type: application/merge-patch+json\n{{\"spec\":{{\"color\":\"{color}\"}}}}\n\n"
        )
    };
    let delete = format!("DELETE {THINGS}/c | /status\n");
    session.run(&[paint("a", "blue"), paint("b", "red"), paint("b", "red"), delete].concat()).await;
    let watched = session
        .run(&format!(
            "GET /apis/x.io/v2/namespaces/default/things?watch=true&timeoutSeconds=1&fieldSelector=spec.paint.color%3Dred&resourceVersion={since}"
        ))
        .await;
    let word = |text: &'static str| {
        watched.split(text).skip(1).filter_map(|rest| rest.split('"').next()).collect::<Vec<_>>()
    };
    assert_eq!(word("\"type\":\""), ["ADDED", "ADDED", "DELETED", "ADDED", "DELETED"], "{watched}");
    assert_eq!(word("\"name\":\""), ["a", "c", "a", "b", "c"], "{watched}");
    let emptied = r#"
DELETE /apis/x.io/v2/namespaces/default/things?fieldSelector=spec.paint.color%3Dred | /items/0/metadata/name /items/1

GET /apis/x.io/v1/namespaces/default/things | /items/0/metadata/name /items/1
"#;
    expect![[r#"
        200
          /items/0/metadata/name "b"
          /items/1 -
        200
          /items/0/metadata/name "a"
          /items/1 -
    "#]]
    .assert_eq(&session.run(emptied).await);
}
