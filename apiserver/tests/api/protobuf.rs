//! Answers in protobuf: objects, lists, metadata, failures and watches, read back by the schema.

use coracle_api::{proto, schema};
use expect_test::expect;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::harness::{Session, body_of, header};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn decode(bytes: &[u8]) -> Value {
    let (api_version, kind) = proto::type_meta(bytes).unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    proto::decode(bytes, schema::lookup(group, version, kind).unwrap()).unwrap()
}

async fn answer(session: &Session, request: &str, accept: &str, code: StatusCode) -> Value {
    let answer = session.send(&format!("{request}\nAccept: {accept}")).await;
    assert_eq!(header(answer.headers(), "content-type"), PROTOBUF);
    decode(&body_of(answer, code).await)
}

async fn with_config_maps() -> Session {
    let session = Session::start().await;
    for name in ["a", "b"] {
        let body = format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"k":"v"}}}}"#);
        session.value(&format!("POST /api/v1/namespaces/default/configmaps\n{body}")).await;
    }
    session
}

const CONFIG_MAPS: &str = "GET /api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn objects_are_the_same_in_both_forms() {
    let session = with_config_maps().await;
    for path in [
        "/api/v1/namespaces/default/configmaps/a",
        "/api/v1/namespaces/default/services/kubernetes",
        "/api/v1/namespaces/kube-system",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin",
    ] {
        let json = session.value(&format!("GET {path}")).await;
        let other = answer(&session, &format!("GET {path}"), PROTOBUF, StatusCode::OK).await;
        assert_eq!(json["metadata"]["managedFields"], other["metadata"]["managedFields"]);
        for part in ["data", "spec", "rules", "kind", "apiVersion"] {
            assert_eq!(json[part], other[part], "{path} {part}");
        }
    }
}

#[tokio::test]
async fn lists_and_metadata_alone() {
    let session = with_config_maps().await;
    let list = answer(&session, &format!("{CONFIG_MAPS}?limit=1"), PROTOBUF, StatusCode::OK).await;
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["data"]["k"], "v");
    assert_eq!(list["metadata"]["remainingItemCount"], 1);
    assert!(list["metadata"]["continue"].as_str().is_some_and(|token| !token.is_empty()));

    let accept = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let list = answer(&session, CONFIG_MAPS, &accept, StatusCode::OK).await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][1]["metadata"]["name"], "b");
    assert_eq!(list["items"][1].get("data"), None);
}

#[tokio::test]
async fn failures_and_what_has_no_such_form() {
    let session = Session::start().await;
    let request = format!("{CONFIG_MAPS}/none");
    let status = answer(&session, &request, PROTOBUF, StatusCode::NOT_FOUND).await;
    assert_eq!((&status["kind"], &status["reason"]), (&"Status".into(), &"NotFound".into()));
    // Tables have none: the next acceptable form is taken.
    let accept = format!(
        "{PROTOBUF};as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io"
    );
    let answer = session.send(&format!("{CONFIG_MAPS}\nAccept: {accept}")).await;
    assert_eq!(header(answer.headers(), "content-type"), "application/json");
}

/// Reads the next event of a stream: its type and its object.
async fn event(body: &mut coracle_apiserver::body::Body, rest: &mut Vec<u8>) -> (String, Value) {
    loop {
        if let Some((length, more)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if more.len() >= length {
                let ty = schema::lookup("", "v1", "WatchEvent").unwrap();
                let event = proto::decode_raw(&more[..length], ty).unwrap();
                *rest = more[length..].to_vec();
                return (event["type"].as_str().unwrap().to_owned(), event["object"].clone());
            }
        }
        let frame = body.frame().await.expect("the watch ended early").unwrap();
        rest.extend_from_slice(&frame.into_data().unwrap());
    }
}

#[tokio::test]
async fn watches_send_events_with_their_length() {
    let session = with_config_maps().await;
    let query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let request = format!("{CONFIG_MAPS}?{query}\nAccept: {PROTOBUF}");
    let answer = session.send(&request).await;
    assert_eq!(header(answer.headers(), "content-type"), format!("{PROTOBUF};stream=watch"));
    let mut body = answer.into_body();
    let mut rest = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (what, object) = event(&mut body, &mut rest).await;
        let annotations = &object["metadata"]["annotations"];
        seen.push(format!(
            "{what} {} {} {annotations}",
            object["kind"], object["metadata"]["name"]
        ));
    }
    session.value("DELETE /api/v1/namespaces/default/configmaps/a").await;
    let (what, object) = event(&mut body, &mut rest).await;
    seen.push(format!("{what} {}", object["data"]));
    expect![[r#"
        ADDED "ConfigMap" "a" null
        ADDED "ConfigMap" "b" null
        BOOKMARK "ConfigMap" null {"k8s.io/initial-events-end":"true"}
        DELETED {"k":"v"}"#]]
    .assert_eq(&seen.join("\n"));
}
