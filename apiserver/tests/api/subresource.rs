//! `scale`, `binding`, `log` and `proxy`.

use std::io;
use std::sync::Arc;

use coracle_apiserver::{Duplex, NodeDialer};
use expect_test::expect;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Session, check};

const ACCOUNT: &str = r#"
POST /api/v1/namespaces/default/serviceaccounts | /metadata/name
{"metadata":{"name":"default"}}
"#;

#[tokio::test]
async fn scale_reads_and_writes_replicas() {
    check(
        r#"
POST /apis/apps/v1/namespaces/default/deployments | /metadata/name
{"metadata":{"name":"a"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}

GET /apis/apps/v1/namespaces/default/deployments/a/scale

GET /apis/apps/v1/namespaces/default/deployments/a/scale | /kind /columnDefinitions/1/name /rows/0/cells/0 /rows/0/cells/1 /rows/0/cells/2 /rows/0/object/kind
Accept: application/json;as=Table;v=v1;g=meta.k8s.io

PATCH /apis/apps/v1/namespaces/default/deployments/a/scale | /kind /spec
Content-Type: application/merge-patch+json
{"spec":{"replicas":5}}

PUT /apis/apps/v1/namespaces/default/deployments/a/scale | /spec
{"metadata":{"name":"a"},"spec":{"replicas":2}}

GET /apis/apps/v1/namespaces/default/deployments/a | /spec/replicas /metadata/generation

PUT /apis/apps/v1/namespaces/default/deployments/a/scale
{"metadata":{"name":"a","resourceVersion":"1"},"spec":{"replicas":9}}

PUT /apis/apps/v1/namespaces/default/deployments/a/scale
{"metadata":{"name":"a"},"spec":{"replicas":-1}}

DELETE /apis/apps/v1/namespaces/default/deployments/a/scale
"#,
        expect![[r#"
            201
              /metadata/name "a"
            200 {"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"creationTimestamp":"TIME","name":"a","namespace":"default","resourceVersion":"RV","uid":"UID"},"spec":{"replicas":1},"status":{"replicas":0,"selector":"a=b"}}
            200
              /kind "Table"
              /columnDefinitions/1/name "Desired"
              /rows/0/cells/0 "a"
              /rows/0/cells/1 1
              /rows/0/cells/2 0
              /rows/0/object/kind "PartialObjectMetadata"
            200
              /kind "Scale"
              /spec {"replicas":5}
            200
              /spec {"replicas":2}
            200
              /spec/replicas 2
              /metadata/generation 3
            409 Conflict: Operation cannot be fulfilled on deployments.apps "a": the object has been modified; please apply your changes to the latest version and try again
              {"group":"apps","kind":"deployments","name":"a"}
            422 Invalid: Scale.autoscaling "a" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0
              {"causes":[{"field":"spec.replicas","message":"Invalid value: -1: must be greater than or equal to 0","reason":"FieldValueInvalid"}],"group":"autoscaling","kind":"Scale","name":"a"}
            405 MethodNotAllowed: the server does not allow this method on the requested resource
              {}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    check(
        &format!(
            r#"{ACCOUNT}
POST /api/v1/namespaces/default/pods | /metadata/generation
{{"metadata":{{"name":"a"}},"spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}

POST /api/v1/namespaces/default/pods/a/binding
{{"metadata":{{"name":"a"}},"target":{{"kind":"Node"}}}}

POST /api/v1/namespaces/default/pods/a/binding
{{"metadata":{{"name":"a"}},"target":{{"kind":"Node","name":"n1"}}}}

GET /api/v1/namespaces/default/pods/a | /spec/nodeName /status/conditions /metadata/generation

POST /api/v1/namespaces/default/pods/a/binding
{{"metadata":{{"name":"a"}},"target":{{"kind":"Node","name":"n2"}}}}

POST /api/v1/namespaces/default/pods/b/binding
{{"metadata":{{"name":"b"}},"target":{{"kind":"Node","name":"n2"}}}}

GET /api/v1/namespaces/default/pods?fieldSelector=spec.nodeName%3Dn1 | /items/0/metadata/name
"#
        ),
        expect![[r#"
            201
              /metadata/name "default"
            201
              /metadata/generation 1
            422 Invalid: Binding "a" is invalid: target.name: Required value
              {"causes":[{"field":"target.name","message":"Required value","reason":"FieldValueRequired"}],"kind":"Binding","name":"a"}
            201 Success: 
            200
              /spec/nodeName "n1"
              /status/conditions [{"lastTransitionTime":"TIME","status":"True","type":"PodScheduled"}]
              /metadata/generation 1
            409 Conflict: Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n1"
              {"kind":"pods","name":"a"}
            404 NotFound: pods "b" not found
              {"kind":"pods","name":"b"}
            200
              /items/0/metadata/name "a"
        "#]],
    )
    .await;
}

/// An agent that answers every request with what it was asked.
struct EchoAgent;

impl NodeDialer for EchoAgent {
    fn dial<'a>(&'a self, node: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        let refused = node != "n1";
        Box::pin(async move {
            if refused {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"));
            }
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(theirs.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let line = head.lines().next().unwrap();
                let code = if line.contains("/waiting") { "400 Bad Request" } else { "200 OK" };
                let answer =
                    format!("HTTP/1.1 {code}\r\ncontent-length: {}\r\n\r\n{line}", line.len());
                theirs.write_all(answer.as_bytes()).await.unwrap();
            });
            Ok(Box::new(ours) as Box<dyn Duplex>)
        })
    }
}

#[tokio::test]
async fn logs_and_proxy_go_to_the_nodes_agent() {
    let session = Session::with_nodes(Arc::new(EchoAgent)).await;
    let script = format!(
        r#"{ACCOUNT}
POST /api/v1/nodes | /metadata/name
{{"metadata":{{"name":"n1"}}}}

POST /api/v1/nodes | /metadata/name
{{"metadata":{{"name":"n2"}}}}

POST /api/v1/namespaces/default/pods | /metadata/name
{{"metadata":{{"name":"a"}},"spec":{{"nodeName":"n1","containers":[{{"name":"c","image":"i"}},{{"name":"waiting","image":"i"}}]}}}}

POST /api/v1/namespaces/default/pods | /metadata/name
{{"metadata":{{"name":"b"}},"spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}

GET /api/v1/namespaces/default/pods/a/log?container=c&follow=true&tailLines=3

GET /api/v1/namespaces/default/pods/a/log?container=waiting

GET /api/v1/namespaces/default/pods/a/log

GET /api/v1/namespaces/default/pods/a/log?container=x

GET /api/v1/namespaces/default/pods/a/log?container=c&tailLines=-1

GET /api/v1/namespaces/default/pods/a/log?container=c&stream=Foo

GET /api/v1/namespaces/default/pods/b/log

GET /api/v1/nodes/n1/proxy/healthz?x=1

GET /api/v1/nodes/n2/proxy/healthz

GET /api/v1/nodes/n3/proxy/healthz
"#
    );
    expect![[r#"
        201
          /metadata/name "default"
        201
          /metadata/name "n1"
        201
          /metadata/name "n2"
        201
          /metadata/name "a"
        201
          /metadata/name "b"
        200 GET /containerLogs/default/a/c?follow=true&tailLines=3 HTTP/1.1
        400 BadRequest: GET /containerLogs/default/a/waiting HTTP/1.1
        400 BadRequest: a container name must be specified for pod a, choose one of: [c waiting]
        400 BadRequest: container x is not valid for pod a
        422 Invalid: PodLogOptions "a" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0
          {"causes":[{"field":"tailLines","message":"Invalid value: -1: must be greater than or equal to 0","reason":"FieldValueInvalid"}],"kind":"PodLogOptions","name":"a"}
        422 Invalid: PodLogOptions "a" is invalid: stream: Unsupported value: "Foo": supported values: "All", "Stderr", "Stdout"
          {"causes":[{"field":"stream","message":"Unsupported value: \"Foo\": supported values: \"All\", \"Stderr\", \"Stdout\"","reason":"FieldValueNotSupported"}],"kind":"PodLogOptions","name":"a"}
        204 
        200 GET /healthz?x=1 HTTP/1.1
        500 InternalError: Internal error occurred: cannot reach node "n2": connection refused
          {"causes":[{"message":"cannot reach node \"n2\": connection refused"}]}
        404 NotFound: nodes "n3" not found
          {"kind":"nodes","name":"n3"}
    "#]].assert_eq(&session.run(&script).await);
}

/// Evictions before and after the budget of two pods is known.
const EVICTIONS: &str = r#"
POST /apis/policy/v1/namespaces/default/poddisruptionbudgets | /metadata/name
{"metadata":{"name":"db"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"db"}}}}

POST /api/v1/namespaces/default/pods/a/eviction
{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"a"}}

PATCH /apis/policy/v1/namespaces/default/poddisruptionbudgets/db/status | /status/disruptionsAllowed
Content-Type: application/merge-patch+json
{"status":{"currentHealthy":2,"desiredHealthy":1,"disruptionsAllowed":1,"expectedPods":2,"observedGeneration":1}}

POST /api/v1/namespaces/default/pods/a/eviction?dryRun=All
{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"a"}}

POST /api/v1/namespaces/default/pods/a/eviction
{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"a"},"deleteOptions":{"gracePeriodSeconds":5}}

GET /api/v1/namespaces/default/pods/a | /metadata/deletionGracePeriodSeconds /status/conditions/1/reason

GET /apis/policy/v1/namespaces/default/poddisruptionbudgets/db | /status/disruptionsAllowed

POST /api/v1/namespaces/default/pods/b/eviction
{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"b"}}

POST /api/v1/namespaces/default/pods/waiting/eviction
{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"waiting"}}

POST /api/v1/namespaces/default/pods/none/eviction
{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"none"}}
"#;

#[tokio::test]
async fn an_eviction_is_granted_as_long_as_the_budget_bears_it() {
    let mut script = ACCOUNT.to_owned();
    for name in ["a", "b", "waiting"] {
        let pod = format!(
            r#"
POST /api/v1/namespaces/default/pods | /metadata/name
{{"metadata":{{"name":"{name}","labels":{{"app":"db"}}}},"spec":{{"nodeName":"n","containers":[{{"name":"c","image":"i"}}]}}}}
"#
        );
        script.push_str(&pod);
    }
    for name in ["a", "b"] {
        let status = format!(
            r#"
PATCH /api/v1/namespaces/default/pods/{name}/status | /status/phase
Content-Type: application/merge-patch+json
{{"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"True"}}]}}}}
"#
        );
        script.push_str(&status);
    }
    script.push_str(EVICTIONS);
    check(&script, expect![[r#"
        201
          /metadata/name "default"
        201
          /metadata/name "a"
        201
          /metadata/name "b"
        201
          /metadata/name "waiting"
        200
          /status/phase "Running"
        200
          /status/phase "Running"
        201
          /metadata/name "db"
        429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget.
          {"causes":[{"message":"The disruption budget db is still being processed by the server.","reason":"DisruptionBudget"}],"retryAfterSeconds":10}
        200
          /status/disruptionsAllowed 1
        201 Success: 
        201 Success: 
        200
          /metadata/deletionGracePeriodSeconds 5
          /status/conditions/1/reason "EvictionByEvictionAPI"
        200
          /status/disruptionsAllowed 0
        429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget.
          {"causes":[{"message":"The disruption budget db does not allow evicting pods currently","reason":"DisruptionBudget"}]}
        201 Success: 
        404 NotFound: pods "none" not found
          {"kind":"pods","name":"none"}
    "#]]).await;
}

#[tokio::test]
async fn a_pod_has_the_zone_of_its_node() {
    let mut script = ACCOUNT.to_owned();
    script.push_str(
        r#"
POST /api/v1/nodes | /metadata/name
{"metadata":{"name":"n","labels":{"topology.kubernetes.io/zone":"a","topology.kubernetes.io/region":"r","disk":"ssd"}}}

POST /api/v1/namespaces/default/pods | /metadata/labels
{"metadata":{"name":"p","labels":{"app":"x","topology.kubernetes.io/zone":"lie"}},"spec":{"containers":[{"name":"c","image":"i"}]}}

POST /api/v1/namespaces/default/pods/p/binding
{"metadata":{"name":"p","labels":{"more":"1"}},"target":{"kind":"Node","name":"n"}}

GET /api/v1/namespaces/default/pods/p | /metadata/labels /spec/nodeName

POST /api/v1/namespaces/default/pods | /metadata/labels
{"metadata":{"name":"placed"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}}

POST /api/v1/namespaces/default/pods | /metadata/labels
{"metadata":{"name":"lost"},"spec":{"nodeName":"none","containers":[{"name":"c","image":"i"}]}}
"#,
    );
    check(&script, expect![[r#"
        201
          /metadata/name "default"
        201
          /metadata/name "n"
        201
          /metadata/labels {"app":"x","topology.kubernetes.io/zone":"lie"}
        201 Success: 
        200
          /metadata/labels {"app":"x","more":"1","topology.kubernetes.io/region":"r","topology.kubernetes.io/zone":"a"}
          /spec/nodeName "n"
        201
          /metadata/labels {"topology.kubernetes.io/region":"r","topology.kubernetes.io/zone":"a"}
        201
          /metadata/labels -
    "#]]).await;
}
