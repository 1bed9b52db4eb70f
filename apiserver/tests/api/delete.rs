//! `DELETE`: at once, gracefully, through finalizers, with preconditions, of collections.

use crate::harness::{Session, check};
use expect_test::expect;

const ACCOUNT: &str = r#"
POST /api/v1/namespaces/default/serviceaccounts | /metadata/name
{"metadata":{"name":"default"}}
"#;

#[tokio::test]
async fn a_plain_object_goes_and_says_so() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"a"}}

DELETE /api/v1/namespaces/default/configmaps/a
{"preconditions":{"uid":"other"}}

DELETE /api/v1/namespaces/default/configmaps/a?dryRun=All

DELETE /api/v1/namespaces/default/configmaps/a
{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}

DELETE /api/v1/namespaces/default/configmaps/a

DELETE /api/v1/namespaces/default/configmaps/a?propagationPolicy=Never
"#,
        expect![[r#"
            201
              /metadata/name "a"
            409 Conflict: Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (other) does not match the UID in record (UID). The object might have been deleted and then recreated
              {"kind":"ConfigMap","name":"a"}
            200 Success: 
              {"kind":"configmaps","name":"a","uid":"UID"}
            200 Success: 
              {"kind":"configmaps","name":"a","uid":"UID"}
            404 NotFound: configmaps "a" not found
              {"kind":"configmaps","name":"a"}
            422 Invalid: DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Never": supported values: "Foreground", "Background", "Orphan", "nil"
              {"causes":[{"field":"propagationPolicy","message":"Unsupported value: \"Never\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"","reason":"FieldValueNotSupported"}],"group":"meta.k8s.io","kind":"DeleteOptions"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps | /metadata/finalizers
{"metadata":{"name":"a","finalizers":["example.com/x"]}}

DELETE /api/v1/namespaces/default/configmaps/a | /metadata/deletionTimestamp /metadata/deletionGracePeriodSeconds /metadata/finalizers
{"propagationPolicy":"Orphan"}

PATCH /api/v1/namespaces/default/configmaps/a | /metadata/finalizers
Content-Type: application/merge-patch+json
{"metadata":{"finalizers":["example.com/x"]}}

PATCH /api/v1/namespaces/default/configmaps/a | /metadata/finalizers
Content-Type: application/merge-patch+json
{"metadata":{"finalizers":null}}

GET /api/v1/namespaces/default/configmaps/a
"#,
        expect![[r#"
            201
              /metadata/finalizers ["example.com/x"]
            200
              /metadata/deletionTimestamp "TIME"
              /metadata/deletionGracePeriodSeconds 0
              /metadata/finalizers ["example.com/x","orphan"]
            200
              /metadata/finalizers ["example.com/x"]
            200
              /metadata/finalizers -
            404 NotFound: configmaps "a" not found
              {"kind":"configmaps","name":"a"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_pod_has_its_grace() {
    check(
        &format!(
            r#"{ACCOUNT}
POST /api/v1/namespaces/default/pods | /status/phase
{{"metadata":{{"name":"a"}},"spec":{{"nodeName":"n","containers":[{{"name":"c","image":"i"}}]}}}}

DELETE /api/v1/namespaces/default/pods/a | /metadata/deletionGracePeriodSeconds /metadata/deletionTimestamp /metadata/generation

DELETE /api/v1/namespaces/default/pods/a | /metadata/deletionGracePeriodSeconds
{{"gracePeriodSeconds":60}}

DELETE /api/v1/namespaces/default/pods/a | /metadata/deletionGracePeriodSeconds
{{"gracePeriodSeconds":5}}

DELETE /api/v1/namespaces/default/pods/a | /metadata/name
{{"gracePeriodSeconds":0}}

GET /api/v1/namespaces/default/pods/a

POST /api/v1/namespaces/default/pods | /metadata/name
{{"metadata":{{"name":"b"}},"spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}

DELETE /api/v1/namespaces/default/pods/b | /metadata/name

GET /api/v1/namespaces/default/pods/b
"#
        ),
        expect![[r#"
            201
              /metadata/name "default"
            201
              /status/phase "Pending"
            200
              /metadata/deletionGracePeriodSeconds 30
              /metadata/deletionTimestamp "TIME"
              /metadata/generation 2
            200
              /metadata/deletionGracePeriodSeconds 30
            200
              /metadata/deletionGracePeriodSeconds 5
            200
              /metadata/name "a"
            404 NotFound: pods "a" not found
              {"kind":"pods","name":"a"}
            201
              /metadata/name "b"
            200
              /metadata/name "b"
            404 NotFound: pods "b" not found
              {"kind":"pods","name":"b"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_namespace_waits_for_its_content() {
    check(
        r#"
POST /api/v1/namespaces | /spec/finalizers /status/phase
{"metadata":{"name":"a"}}

DELETE /api/v1/namespaces/a | /status/phase /spec/finalizers

POST /api/v1/namespaces/a/configmaps
{"metadata":{"name":"x"}}

PUT /api/v1/namespaces/a/finalize | /metadata/name
{"metadata":{"name":"a"},"spec":{"finalizers":[]}}

GET /api/v1/namespaces/a

DELETE /api/v1/namespaces/default
"#,
        expect![[r#"
            201
              /spec/finalizers ["kubernetes"]
              /status/phase "Active"
            200
              /status/phase "Terminating"
              /spec/finalizers ["kubernetes"]
            403 Forbidden: configmaps "x" is forbidden: unable to create new content in namespace a because it is being terminated
              {"causes":[{"field":"metadata.namespace","message":"namespace a is being terminated","reason":"NamespaceTerminating"}],"kind":"configmaps","name":"x"}
            200
              /metadata/name "a"
            404 NotFound: namespaces "a" not found
              {"kind":"namespaces","name":"a"}
            403 Forbidden: namespaces "default" is forbidden: this namespace may not be deleted
              {"kind":"namespaces","name":"default"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_collection_goes_by_selector() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"a","labels":{"x":"1"}}}

POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"b"}}

DELETE /api/v1/namespaces/default/configmaps?labelSelector=x | /kind /items/0/metadata/name /items/1

GET /api/v1/namespaces/default/configmaps | /items/0/metadata/name /items/1

DELETE /api/v1/namespaces
"#,
        expect![[r#"
            201
              /metadata/name "a"
            201
              /metadata/name "b"
            200
              /kind "ConfigMapList"
              /items/0/metadata/name "a"
              /items/1 -
            200
              /items/0/metadata/name "b"
              /items/1 -
            405 MethodNotAllowed: the server does not allow this method on the requested resource
              {}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn deletes_race_with_writes_and_win() {
    let session = Session::start().await;
    session.run(ACCOUNT).await;
    let pod = r#"{"metadata":{"name":"a"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}}"#;
    session.value(&format!("POST /api/v1/namespaces/default/pods\n{pod}")).await;
    let writes = async {
        for count in 0..50 {
            let patch = format!(r#"{{"metadata":{{"annotations":{{"n":"{count}"}}}}}}"#);
            let request = "PATCH /api/v1/namespaces/default/pods/a\nContent-Type: application/merge-patch+json\n";
            session.send(&format!("{request}{patch}")).await;
        }
    };
    let delete =
        session.send("DELETE /api/v1/namespaces/default/pods/a\n{\"gracePeriodSeconds\":0}");
    let ((), answer) = tokio::join!(writes, delete);
    assert_eq!(answer.status(), http::StatusCode::OK);
    let gone = session.send("GET /api/v1/namespaces/default/pods/a").await;
    assert_eq!(gone.status(), http::StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_event_that_was_just_made_stays() {
    let session = Session::start().await;
    let event = |name: &str, time: &str| {
        format!(
            r#"POST /api/v1/namespaces/default/events
{{"metadata":{{"name":"{name}","namespace":"default"}},"involvedObject":{{"kind":"Pod","name":"p","namespace":"default"}},"reason":"R","type":"Normal","lastTimestamp":"{time}"}}"#
        )
    };
    session.value(&event("old", "2020-01-01T00:00:00Z")).await;
    // Creation was now, so only the clock's own passing makes an Event old: nothing goes yet.
    tokio::time::pause();
    tokio::time::sleep(std::time::Duration::from_secs(301)).await;
    let list = session.value("GET /api/v1/events").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}
