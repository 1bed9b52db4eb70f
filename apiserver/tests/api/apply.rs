//! Server-side apply, and who owns what after every way of writing.

use crate::harness::check;
use expect_test::expect;

#[tokio::test]
async fn applies_create_and_change() {
    check(
        r#"
PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=alice | /data /metadata/managedFields
Content-Type: application/apply-patch+yaml
{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: "1", y: "1"}}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=bob
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"2"}}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=bob&force=true | /data /metadata/managedFields/alice/fieldsV1 /metadata/managedFields/bob/fieldsV1
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"2"}}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=alice | /data
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}

PATCH /api/v1/namespaces/default/configmaps/b?fieldManager=alice&dryRun=All | /data
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"},"data":{"x":"2"}}

GET /api/v1/namespaces/default/configmaps/b
"#,
        expect![[r#"
            201
              /data {"x":"1","y":"1"}
              /metadata/managedFields [{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:x":{},"f:y":{}}},"manager":"alice","operation":"Apply","time":"TIME"}]
            409 Conflict: Apply failed with 1 conflict: conflict with "alice": .data.x
              {"causes":[{"field":".data.x","message":"conflict with \"alice\"","reason":"FieldManagerConflict"}]}
            200
              /data {"x":"2","y":"1"}
              /metadata/managedFields/alice/fieldsV1 {"f:data":{"f:y":{}}}
              /metadata/managedFields/bob/fieldsV1 {"f:data":{"f:x":{}}}
            200
              /data {"x":"2"}
            201
              /data {"x":"2"}
            404 NotFound: configmaps "b" not found
              {"kind":"configmaps","name":"b"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn configurations_that_cannot_be_applied() {
    check(
        r#"
PATCH /api/v1/namespaces/default/configmaps/a
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=alice
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=alice
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"spec":{"x":1},"y":2}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=alice
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=alice
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","managedFields":[]}}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=alice&fieldValidation=Strict
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1","a":"2"}}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=alice&fieldValidation=Warn | /data
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1","a":"2"}}

PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=alice
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","resourceVersion":"1"},"data":{"a":"3"}}
"#,
        expect![[r#"
            422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch
              {"causes":[{"field":"fieldManager","message":"Required value: is required for apply patch","reason":"FieldValueRequired"}],"group":"meta.k8s.io","kind":"PatchOptions"}
            400 BadRequest: the name of the object (b) does not match the name on the URL (a)
            400 BadRequest: failed to create typed patch object (/a; v1, Kind=ConfigMap): errors:
              .spec: field not declared in schema
              .y: field not declared in schema
            400 BadRequest: Secret in version "v1" cannot be handled as a ConfigMap: no kind "Secret" is registered for version "v1"
            400 BadRequest: metadata.managedFields must be nil
            400 BadRequest: error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:
              line 1: key "a" already set in map
            201
              ! 299 - "duplicate field \"data.a\""
              /data {"a":"2"}
            409 Conflict: Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again
              {"kind":"configmaps","name":"a"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn applies_that_do_not_fit_what_is_there() {
    check(
        r#"
PATCH /api/v1/namespaces/default/configmaps/c?fieldManager=alice
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","uid":"00000000-0000-4000-8000-000000000000"},"data":{"a":"3"}}

PATCH /api/v1/namespaces/default/configmaps/a?force=true
Content-Type: application/merge-patch+json
{}

PATCH /api/v1/namespaces/default/pods/p/status?fieldManager=alice
Content-Type: application/apply-patch+yaml
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"status":{"phase":"Running"}}
"#,
        expect![[r#"
            409 Conflict: Operation cannot be fulfilled on configmaps "c": uid mismatch: the provided object specified uid UID, and no existing object was found
              {"kind":"configmaps","name":"c"}
            422 Invalid: PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch
              {"causes":[{"field":"force","message":"Forbidden: may not be specified for non-apply patch","reason":"FieldValueForbidden"}],"group":"meta.k8s.io","kind":"PatchOptions"}
            404 NotFound: pods "p" not found
              {"kind":"pods","name":"p"}
        "#]],
    )
    .await;
}

const DEPLOYMENT: &str = r#"
POST /apis/apps/v1/namespaces/default/deployments?fieldManager=maker | /metadata/name
{"metadata":{"name":"d"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}
"#;

#[tokio::test]
async fn every_way_of_writing_is_noted() {
    check(
        &format!(
            r#"{DEPLOYMENT}
PATCH /apis/apps/v1/namespaces/default/deployments/d | /metadata/managedFields/kubectl
Content-Type: application/merge-patch+json
User-Agent: kubectl/v1.35.4 (linux/amd64)
{{"metadata":{{"labels":{{"x":"y"}}}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/d/status?fieldManager=controller | /metadata/managedFields/controller
Content-Type: application/merge-patch+json
{{"spec":{{"replicas":7}},"status":{{"replicas":4}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/d/scale?fieldManager=scaler | /spec
Content-Type: application/merge-patch+json
{{"spec":{{"replicas":3}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/d/scale?fieldManager=other
Content-Type: application/apply-patch+yaml
{{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{{"name":"d"}},"spec":{{"replicas":5}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/d/scale?fieldManager=other&force=true | /spec
Content-Type: application/apply-patch+yaml
{{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{{"name":"d"}},"spec":{{"replicas":5}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/d/status?fieldManager=prober | /spec/replicas /status/replicas /metadata/managedFields/other /metadata/managedFields/prober
Content-Type: application/apply-patch+yaml
{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"d"}},"spec":{{"replicas":9}},"status":{{"observedGeneration":1}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/d | /metadata/managedFields /spec/replicas
Content-Type: application/merge-patch+json
{{"metadata":{{"managedFields":[]}}}}
"#
        ),
        expect![[r#"
            201
              /metadata/name "d"
            200
              /metadata/managedFields/kubectl {"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:x":{}}}},"manager":"kubectl","operation":"Update","time":"TIME"}
            200
              /metadata/managedFields/controller {"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:replicas":{}}},"manager":"controller","operation":"Update","subresource":"status","time":"TIME"}
            200
              /spec {"replicas":3}
            409 Conflict: Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using apps/v1: .spec.replicas
              {"causes":[{"field":".spec.replicas","message":"conflict with \"scaler\" with subresource \"scale\" using apps/v1","reason":"FieldManagerConflict"}]}
            200
              /spec {"replicas":5}
            200
              /spec/replicas 5
              /status/replicas 4
              /metadata/managedFields/other {"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}},"manager":"other","operation":"Apply","subresource":"scale","time":"TIME"}
              /metadata/managedFields/prober {"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:observedGeneration":{}}},"manager":"prober","operation":"Apply","subresource":"status","time":"TIME"}
            200
              /metadata/managedFields -
              /spec/replicas 5
        "#]],
    )
    .await;
}

#[tokio::test]
async fn the_same_again_is_no_write() {
    let session = crate::harness::Session::start().await;
    let request = r#"
PATCH /apis/apps/v1/namespaces/default/deployments/d?fieldManager=alice
Content-Type: application/apply-patch+yaml
{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","creationTimestamp":null},"spec":{"selector":{"matchLabels":{"a":"b"}},"strategy":{},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":0.5}}}]}}},"status":{}}
"#;
    let first = session.value(request).await;
    let second = session.value(request).await;
    assert_eq!(first, second);
    assert_eq!(first["metadata"]["managedFields"].as_array().unwrap().len(), 1, "{first}");
    assert_eq!(
        first["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"],
        "500m"
    );
}
