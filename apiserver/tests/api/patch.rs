//! `PATCH` in its three forms.

use crate::harness::check;
use expect_test::expect;

const DEPLOYMENT: &str = r#"
POST /apis/apps/v1/namespaces/default/deployments | /metadata/name
{"metadata":{"name":"a"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]}}}}
"#;

#[tokio::test]
async fn each_form_changes_what_it_names() {
    check(
        &format!(
            r#"{DEPLOYMENT}
PATCH /apis/apps/v1/namespaces/default/deployments/a | /spec/template/spec/containers/0/image /spec/template/spec/containers/1/name /metadata/generation
Content-Type: application/strategic-merge-patch+json
{{"spec":{{"template":{{"spec":{{"$setElementOrder/containers":[{{"name":"c"}},{{"name":"d"}}],"containers":[{{"name":"c","image":"j"}}]}}}}}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/a | /metadata/labels /metadata/generation
Content-Type: application/merge-patch+json
{{"metadata":{{"labels":{{"x":"y"}}}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/a | /spec/replicas /metadata/generation
Content-Type: application/json-patch+json
[{{"op":"test","path":"/spec/replicas","value":1}},{{"op":"replace","path":"/spec/replicas","value":4}}]

PATCH /apis/apps/v1/namespaces/default/deployments/a/status | /spec/replicas /status/replicas
Content-Type: application/merge-patch+json
{{"spec":{{"replicas":1}},"status":{{"replicas":4}}}}
"#
        ),
        expect![[r#"
            201
              /metadata/name "a"
            200
              /spec/template/spec/containers/0/image "j"
              /spec/template/spec/containers/1/name "d"
              /metadata/generation 2
            200
              /metadata/labels {"x":"y"}
              /metadata/generation 2
            200
              /spec/replicas 4
              /metadata/generation 3
            200
              /spec/replicas 4
              /status/replicas 4
        "#]],
    )
    .await;
}

#[tokio::test]
async fn patches_that_cannot_be_applied() {
    check(
        &format!(
            r#"{DEPLOYMENT}
PATCH /apis/apps/v1/namespaces/default/deployments/a
Content-Type: application/json-patch+json
[{{"op":"test","path":"/spec/replicas","value":7}}]

PATCH /apis/apps/v1/namespaces/default/deployments/a
Content-Type: application/json-patch+json
{{"op":"test"}}

PATCH /apis/apps/v1/namespaces/default/deployments/a
Content-Type: application/json
{{}}

PATCH /apis/apps/v1/namespaces/default/deployments/a
Content-Type: application/merge-patch+json
{{"metadata":{{"resourceVersion":"1"}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/a
Content-Type: application/merge-patch+json
{{"metadata":{{"name":"b"}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/a?fieldValidation=Strict
Content-Type: application/merge-patch+json
{{"spec":{{"replica":1}},"spec":{{"replica":2}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/a | /spec/replicas
Content-Type: application/merge-patch+json
{{"spec":{{"replica":1}},"spec":{{"replica":2}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/a
Content-Type: application/merge-patch+json
{{"spec":{{"replicas":-1}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/nope
Content-Type: application/merge-patch+json
{{}}
"#
        ),
        expect![[r#"
            201
              /metadata/name "a"
            422 Invalid: the server rejected our request due to an error in our request: operation 0 (test /spec/replicas): value did not match
              {}
            400 BadRequest: error decoding patch: invalid type: map, expected a sequence
            415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml
            409 Conflict: Operation cannot be fulfilled on deployments.apps "a": the object has been modified; please apply your changes to the latest version and try again
              {"group":"apps","kind":"deployments","name":"a"}
            400 BadRequest: the name of the object (b) does not match the name on the URL (a)
            422 Invalid:  "" is invalid: patch: Invalid value: "{\"spec\":{\"replica\":2}}": strict decoding error: duplicate field "spec", unknown field "spec.replica"
              {"causes":[{"field":"patch","message":"Invalid value: \"{\\\"spec\\\":{\\\"replica\\\":2}}\": strict decoding error: duplicate field \"spec\", unknown field \"spec.replica\"","reason":"FieldValueInvalid"}]}
            200
              ! 299 - "duplicate field \"spec\""
              ! 299 - "unknown field \"spec.replica\""
              /spec/replicas 1
            422 Invalid: Deployment.apps "a" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0
              {"causes":[{"field":"spec.replicas","message":"Invalid value: -1: must be greater than or equal to 0","reason":"FieldValueInvalid"}],"group":"apps","kind":"Deployment","name":"a"}
            404 NotFound: deployments.apps "nope" not found
              {"group":"apps","kind":"deployments","name":"nope"}
        "#]],
    )
    .await;
}
