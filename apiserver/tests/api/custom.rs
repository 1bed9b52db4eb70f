//! Users' kinds: from a definition to its objects and back.

use crate::harness::{Session, check};
use expect_test::expect;

const DEFINITION: &str = r#"
POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions | /metadata/name /spec/names /status/storedVersions
{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"websites.example.com"},
"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"websites","kind":"Website","shortNames":["web"]},
"versions":[{"name":"v1","served":true,"storage":true,
"subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas","labelSelectorPath":".status.selector"}},
"selectableFields":[{"jsonPath":".spec.color"}],
"additionalPrinterColumns":[{"name":"Host","type":"string","jsonPath":".spec.host"}],
"schema":{"openAPIV3Schema":{"type":"object","properties":{
"spec":{"type":"object","required":["host"],"properties":{"host":{"type":"string","maxLength":20},"color":{"type":"string"},"replicas":{"type":"integer","default":1,"minimum":0}},
"x-kubernetes-validations":[{"rule":"self.replicas <= 5","message":"too many replicas"}]},
"status":{"type":"object","properties":{"replicas":{"type":"integer"},"selector":{"type":"string"}}}}}}}]}}
"#;

const SITES: &str = "/apis/example.com/v1/namespaces/default/websites";

#[tokio::test]
async fn a_definition_is_served_at_once() {
    check(
        &format!(
            r#"GET /apis/example.com/v1

{DEFINITION}
GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/websites.example.com | /status/acceptedNames/singular /status/conditions/0/type /status/conditions/1/type /status/conditions/1/status

GET /apis/example.com/v1 | /resources/0 /resources/2/name

POST {SITES} | /spec /metadata/generation
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"host":"a.b","color":"red","junk":1}},"status":{{"replicas":9}}}}

GET {SITES}/a | /spec /status

GET {SITES}?fieldSelector=spec.color%3Dred | /kind /apiVersion /items/0/metadata/name

GET {SITES}?fieldSelector=spec.color%3Dblue | /items

GET {SITES}
Accept: application/json;as=Table;v=v1;g=meta.k8s.io
"#
        ),
        expect![[r#"
            404 404 page not found

            201
              /metadata/name "websites.example.com"
              /spec/names {"kind":"Website","listKind":"WebsiteList","plural":"websites","shortNames":["web"],"singular":"website"}
              /status/storedVersions ["v1"]
            200
              /status/acceptedNames/singular "website"
              /status/conditions/0/type "NamesAccepted"
              /status/conditions/1/type "Established"
              /status/conditions/1/status "True"
            200
              /resources/0 {"kind":"Website","name":"websites","namespaced":true,"shortNames":["web"],"singularName":"website","storageVersionHash":"wIE8Aq+wgTc=","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}
              /resources/2/name "websites/status"
            201
              ! 299 - "unknown field \"spec.junk\""
              /spec {"color":"red","host":"a.b","replicas":1}
              /metadata/generation 1
            200
              /spec {"color":"red","host":"a.b","replicas":1}
              /status -
            200
              /kind "WebsiteList"
              /apiVersion "example.com/v1"
              /items/0/metadata/name "a"
            200
              /items []
            200 {"apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"description":"Name of the object, unique for its kind.","format":"name","name":"Name","priority":0,"type":"string"},{"description":"","format":"","name":"Host","priority":0,"type":"string"}],"kind":"Table","metadata":{"resourceVersion":"RV"},"rows":[{"cells":["a","a.b"],"object":{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"creationTimestamp":"TIME","generation":1,"name":"a","namespace":"default","resourceVersion":"RV","uid":"UID"}}}]}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn objects_are_checked_and_changed() {
    check(
        &format!(
            r#"{DEFINITION}
POST {SITES}
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"replicas":"x"}}}}

POST {SITES}
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"host":"h","replicas":6}}}}

POST {SITES}?fieldValidation=Strict
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"host":"h","other":6}}}}

POST {SITES} | /spec
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"host":"h"}}}}

PATCH {SITES}/a | /spec /metadata/generation
Content-Type: application/merge-patch+json
{{"spec":{{"host":"i"}},"status":{{"replicas":3}}}}

PATCH {SITES}/a/status | /spec/host /status /metadata/generation
Content-Type: application/merge-patch+json
{{"spec":{{"host":"no"}},"status":{{"replicas":3,"selector":"app=web"}}}}

GET {SITES}/a/scale | /spec /status

PATCH {SITES}/a/scale | /spec /status
Content-Type: application/merge-patch+json
{{"spec":{{"replicas":4}}}}
"#
        ),
        expect![[r#"
            201
              /metadata/name "websites.example.com"
              /spec/names {"kind":"Website","listKind":"WebsiteList","plural":"websites","shortNames":["web"],"singular":"website"}
              /status/storedVersions ["v1"]
            422 Invalid: Website.example.com "a" is invalid: [spec.host: Required value, spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]
              {"causes":[{"field":"spec.host","message":"Required value","reason":"FieldValueRequired"},{"field":"spec.replicas","message":"Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"","reason":"FieldValueTypeInvalid"},{"field":"<nil>","message":"Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation","reason":"FieldValueInvalid"}],"group":"example.com","kind":"Website","name":"a"}
            422 Invalid: Website.example.com "a" is invalid: spec: Invalid value: "object": too many replicas
              {"causes":[{"field":"spec","message":"Invalid value: \"object\": too many replicas","reason":"FieldValueInvalid"}],"group":"example.com","kind":"Website","name":"a"}
            400 BadRequest: Website in version "v1" cannot be handled as a Website: strict decoding error: unknown field "spec.other"
            201
              /spec {"host":"h","replicas":1}
            200
              /spec {"host":"i","replicas":1}
              /metadata/generation 2
            200
              /spec/host "i"
              /status {"replicas":3,"selector":"app=web"}
              /metadata/generation 2
            200
              /spec {"replicas":1}
              /status {"replicas":3,"selector":"app=web"}
            200
              /spec {"replicas":4}
              /status {"replicas":3,"selector":"app=web"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn patches_go_by_the_schema() {
    check(
        &format!(
            r#"{DEFINITION}
POST {SITES} | /spec
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"host":"h"}}}}

PATCH {SITES}/a | /spec
Content-Type: application/apply-patch+yaml
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"host":"j"}}}}

PATCH {SITES}/a?fieldManager=me&force=true | /spec
Content-Type: application/apply-patch+yaml
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"host":"j"}}}}

PATCH {SITES}/a
Content-Type: application/strategic-merge-patch+json
{{"spec":{{"host":"i"}}}}
"#
        ),
        expect![[r#"
            201
              /metadata/name "websites.example.com"
              /spec/names {"kind":"Website","listKind":"WebsiteList","plural":"websites","shortNames":["web"],"singular":"website"}
              /status/storedVersions ["v1"]
            201
              /spec {"host":"h","replicas":1}
            422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch
              {"causes":[{"field":"fieldManager","message":"Required value: is required for apply patch","reason":"FieldValueRequired"}],"group":"meta.k8s.io","kind":"PatchOptions"}
            200
              /spec {"host":"j","replicas":1}
            415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml
        "#]],
    )
    .await;
}

#[tokio::test]
async fn objects_go_with_their_definition() {
    check(
        &format!(
            r#"{DEFINITION}
POST {SITES} | /metadata/name
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"host":"h"}}}}

DELETE /apis/apiextensions.k8s.io/v1/customresourcedefinitions/websites.example.com | /kind /metadata/finalizers

GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/websites.example.com
"#
        ),
        expect![[r#"
            201
              /metadata/name "websites.example.com"
              /spec/names {"kind":"Website","listKind":"WebsiteList","plural":"websites","shortNames":["web"],"singular":"website"}
              /status/storedVersions ["v1"]
            201
              /metadata/name "a"
            200
              /kind "CustomResourceDefinition"
              /metadata/finalizers ["customresourcecleanup.apiextensions.k8s.io"]
            404 NotFound: customresourcedefinitions.apiextensions.k8s.io "websites.example.com" not found
              {"group":"apiextensions.k8s.io","kind":"customresourcedefinitions","name":"websites.example.com"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn versions_show_one_object() {
    let definition = r#"
POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions | /metadata/name
{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.x.io"},
"spec":{"group":"x.io","scope":"Cluster","names":{"plural":"things","kind":"Thing"},
"versions":[{"name":"v1beta1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}},
{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}
"#;
    check(
        &format!(
            r#"{definition}
POST /apis/x.io/v1beta1/things | /apiVersion /spec
{{"apiVersion":"x.io/v1beta1","kind":"Thing","metadata":{{"name":"a"}},"spec":{{"any":[1]}}}}

GET /apis/x.io/v1/things/a | /apiVersion /spec

GET /apis/x.io/v1beta1/things | /apiVersion /items/0/apiVersion

PATCH /apis/x.io/v1beta1/things/a | /apiVersion /spec /metadata/generation
Content-Type: application/merge-patch+json
{{"spec":{{"any":[2]}}}}

GET /apis | /groups/20/name /groups/20/preferredVersion/version
"#
        ),
        expect![[r#"
            201
              /metadata/name "things.x.io"
            201
              /apiVersion "x.io/v1beta1"
              /spec {"any":[1]}
            200
              /apiVersion "x.io/v1"
              /spec {"any":[1]}
            200
              /apiVersion "x.io/v1beta1"
              /items/0/apiVersion "x.io/v1beta1"
            200
              /apiVersion "x.io/v1beta1"
              /spec {"any":[2]}
              /metadata/generation 2
            200
              /groups/20/name "x.io"
              /groups/20/preferredVersion/version "v1"
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_restart_serves_what_is_there() {
    let first = Session::start().await;
    first
        .run(&format!(
            r#"{DEFINITION}
POST {SITES} | /metadata/name
{{"apiVersion":"example.com/v1","kind":"Website","metadata":{{"name":"a"}},"spec":{{"host":"h"}}}}"#
        ))
        .await;
    let second = Session::over(first.store.clone()).await;
    let found = second.run(&format!("GET {SITES}/a | /spec")).await;
    assert_eq!(found, "200\n  /spec {\"host\":\"h\",\"replicas\":1}\n");
}

#[tokio::test]
async fn documents_describe_users_kinds() {
    check(
        &format!(
            r#"{DEFINITION}
GET /openapi/v3/apis/example.com/v1 | /components/schemas/com.example.v1.Website/properties/spec/required /components/schemas/com.example.v1.Website/x-kubernetes-group-version-kind

GET /openapi/v2 | /definitions/com.example.v1.Website/properties/spec/required
"#
        ),
        expect![[r#"
            201
              /metadata/name "websites.example.com"
              /spec/names {"kind":"Website","listKind":"WebsiteList","plural":"websites","shortNames":["web"],"singular":"website"}
              /status/storedVersions ["v1"]
            200
              /components/schemas/com.example.v1.Website/properties/spec/required ["host"]
              /components/schemas/com.example.v1.Website/x-kubernetes-group-version-kind [{"group":"example.com","kind":"Website","version":"v1"}]
            200
              /definitions/com.example.v1.Website/properties/spec/required ["host"]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn every_group_has_its_service() {
    check(
        &format!(
            r#"GET /apis/apiregistration.k8s.io/v1/apiservices/v1.apps | /spec/group /status/conditions/0/type /status/conditions/0/status /status/conditions/0/reason

{DEFINITION}
GET /apis/apiregistration.k8s.io/v1/apiservices/v1.example.com | /spec/groupPriorityMinimum /status/conditions/0/status

DELETE /apis/apiextensions.k8s.io/v1/customresourcedefinitions/websites.example.com | /kind
"#
        ),
        expect![[r#"
            200
              /spec/group "apps"
              /status/conditions/0/type "Available"
              /status/conditions/0/status "True"
              /status/conditions/0/reason "Local"
            201
              /metadata/name "websites.example.com"
              /spec/names {"kind":"Website","listKind":"WebsiteList","plural":"websites","shortNames":["web"],"singular":"website"}
              /status/storedVersions ["v1"]
            200
              /spec/groupPriorityMinimum 1000
              /status/conditions/0/status "True"
            200
              /kind "CustomResourceDefinition"
        "#]],
    )
    .await;
}
