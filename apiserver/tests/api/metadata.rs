//! `PUT`: what an update may change, and when it conflicts.

use crate::harness::{Session, check};
use expect_test::expect;

#[tokio::test]
async fn generation_counts_changes_of_spec() {
    check(
        r#"
POST /apis/apps/v1/namespaces/default/deployments | /metadata/generation
{"metadata":{"name":"a"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}

PUT /apis/apps/v1/namespaces/default/deployments/a | /metadata/generation /spec/replicas
{"metadata":{"name":"a"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}

PUT /apis/apps/v1/namespaces/default/deployments/a | /metadata/generation /metadata/labels
{"metadata":{"name":"a","labels":{"x":"y"}},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}

PUT /apis/apps/v1/namespaces/default/deployments/a/status | /metadata/generation /spec/replicas /status
{"metadata":{"name":"a"},"spec":{"replicas":9,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{"observedGeneration":2,"replicas":3}}

PUT /apis/apps/v1/namespaces/default/deployments/a
{"metadata":{"name":"a"},"spec":{"selector":{"matchLabels":{"a":"c"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}
"#,
        expect![[r#"
            201
              /metadata/generation 1
            200
              /metadata/generation 2
              /spec/replicas 3
            200
              /metadata/generation 2
              /metadata/labels {"x":"y"}
            200
              /metadata/generation 2
              /spec/replicas 3
              /status {"observedGeneration":2,"replicas":3}
            422 Invalid: Deployment.apps "a" is invalid: [spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`, spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable]
              {"causes":[{"field":"spec.template.metadata.labels","message":"Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`","reason":"FieldValueInvalid"},{"field":"spec.selector","message":"Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable","reason":"FieldValueInvalid"}],"group":"apps","kind":"Deployment","name":"a"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn an_equal_update_writes_nothing() {
    let session = Session::start().await;
    let made = session
        .value(
            r#"POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"a"},"data":{"x":"1"}}"#,
        )
        .await;
    let before = session.store.revision();
    let again = session
        .value(
            r#"PUT /api/v1/namespaces/default/configmaps/a
{"metadata":{"name":"a"},"data":{"x":"1"}}"#,
        )
        .await;
    assert_eq!(made, again);
    assert_eq!(session.store.revision(), before);
}

#[tokio::test]
async fn stale_and_foreign_updates_conflict() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"a"}}

PUT /api/v1/namespaces/default/configmaps/a
{"metadata":{"name":"a","resourceVersion":"1"},"data":{"x":"1"}}

PUT /api/v1/namespaces/default/configmaps/a
{"metadata":{"name":"a","uid":"other"},"data":{"x":"1"}}

PUT /api/v1/namespaces/default/configmaps/a
{"metadata":{"name":"b"}}

PUT /api/v1/namespaces/default/configmaps/a
{"metadata":{}}

PUT /api/v1/namespaces/default/configmaps/nope
{"metadata":{"name":"nope"}}

PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/l | /metadata/name
{"metadata":{"name":"l"},"spec":{"holderIdentity":"me"}}

PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/l
{"metadata":{"name":"l"},"spec":{"holderIdentity":"you"}}
"#,
        expect![[r#"
            201
              /metadata/name "a"
            409 Conflict: Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again
              {"kind":"configmaps","name":"a"}
            409 Conflict: Operation cannot be fulfilled on configmaps "a": Precondition failed: UID in precondition: other, UID in object meta: UID
              {"kind":"configmaps","name":"a"}
            400 BadRequest: the name of the object (b) does not match the name on the URL (a)
            400 BadRequest: the name of the object (, based on URL a) was undeterminable: name must be provided
            404 NotFound: configmaps "nope" not found
              {"kind":"configmaps","name":"nope"}
            201
              /metadata/name "l"
            422 Invalid: Lease.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update
              {"causes":[{"field":"metadata.resourceVersion","message":"Invalid value: 0x0: must be specified for an update","reason":"FieldValueInvalid"}],"group":"coordination.k8s.io","kind":"Lease","name":"l"}
        "#]],
    )
    .await;
}
