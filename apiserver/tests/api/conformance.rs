//! What Kubernetes' conformance suite found: each of its findings in a few requests.

use crate::harness::check;
use expect_test::expect;

#[tokio::test]
async fn a_status_subresource_takes_metadata_as_well() {
    check(
        r#"
POST /apis/batch/v1/namespaces/default/cronjobs | /metadata/name
{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"a"},"spec":{"schedule":"@daily","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}

PATCH /apis/batch/v1/namespaces/default/cronjobs/a/status | /metadata/annotations /metadata/generation /spec/schedule /status
Content-Type: application/merge-patch+json
{"metadata":{"annotations":{"patched":"true"},"generation":9},"spec":{"schedule":"@hourly"},"status":{"lastScheduleTime":"2026-01-01T00:00:00Z"}}

PATCH /api/v1/namespaces/default/status | /metadata/annotations /status/phase
Content-Type: application/merge-patch+json
{"metadata":{"annotations":{"patched":"true"}}}

POST /apis/apps/v1/namespaces/default/deployments | /metadata/labels
{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","labels":{"a":"b"}},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/a/status | /metadata/labels /metadata/annotations
Content-Type: application/merge-patch+json
{"metadata":{"annotations":{"patched":"true"},"labels":{"no":"no"}}}

POST /apis/storage.k8s.io/v1/volumeattachments | /metadata/name
{"apiVersion":"storage.k8s.io/v1","kind":"VolumeAttachment","metadata":{"name":"a"},"spec":{"attacher":"a","nodeName":"n","source":{"persistentVolumeName":"v"}}}

PATCH /apis/storage.k8s.io/v1/volumeattachments/a/status | /metadata/annotations /status/attached
Content-Type: application/merge-patch+json
{"metadata":{"annotations":{"patched":"true"}},"status":{"attached":true}}
"#,
        expect![[r#"
            201
              /metadata/name "a"
            200
              /metadata/annotations {"patched":"true"}
              /metadata/generation 1
              /spec/schedule "@daily"
              /status {"lastScheduleTime":"TIME"}
            200
              /metadata/annotations {"patched":"true"}
              /status/phase "Active"
            201
              /metadata/labels {"a":"b"}
            200
              /metadata/labels {"a":"b"}
              /metadata/annotations {"patched":"true"}
            201
              /metadata/name "a"
            200
              /metadata/annotations -
              /status/attached true
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_new_default_is_seen_in_old_objects() {
    check(
        r#"
POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions | /metadata/name
{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.example.com"},"spec":{"group":"example.com","scope":"Cluster","names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}}}]}}

POST /apis/example.com/v1/things | /a /b
{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"x"},"b":"B"}

PATCH /apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com | /metadata/generation
Content-Type: application/json-patch+json
[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/a/default","value":"A"},{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/b"}]

GET /apis/example.com/v1/things/x | /a /b

GET /apis/example.com/v1/things | /items/0/a /items/0/b
"#,
        expect![[r#"
            201
              /metadata/name "things.example.com"
            201
              /a -
              /b "B"
            200
              /metadata/generation 2
            200
              /a "A"
              /b -
            200
              /items/0/a "A"
              /items/0/b -
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_key_twice_in_an_apply_is_told_with_its_line() {
    check(
        "
PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=m&fieldValidation=Strict
Content-Type: application/apply-patch+yaml
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
data:
  foo: a
  foo: b
",
        expect![[r#"
            400 BadRequest: error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:
              line 7: key "foo" already set in map
        "#]],
    )
    .await;
}

#[tokio::test]
async fn the_server_tells_where_it_is_and_which_addresses_it_gives() {
    check(
        "
GET /api/v1/namespaces/default/endpoints/kubernetes | /subsets

GET /apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes | /endpoints/0/addresses /ports/0/port

GET /apis/networking.k8s.io/v1/servicecidrs/kubernetes | /spec/cidrs /status/conditions/0/type /status/conditions/0/status
",
        expect![[r#"
            200
              ! 299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
              /subsets [{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"https","port":6443,"protocol":"TCP"}]}]
            200
              /endpoints/0/addresses ["10.0.0.1"]
              /ports/0/port 6443
            200
              /spec/cidrs ["10.96.0.0/12","fd63:6f73::/108"]
              /status/conditions/0/type "Ready"
              /status/conditions/0/status "True"
        "#]],
    )
    .await;
}
