//! Streams and proxies through the server, to an agent that is a few lines here.

use std::io;
use std::sync::Arc;

use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::{Duplex, NodeDialer};
use expect_test::expect;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::harness::Session;

/// An agent whose pods answer, on port 8080, every request with what they were asked.
struct Agent;

impl NodeDialer for Agent {
    fn dial<'a>(&'a self, _node: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(serve(theirs));
            Ok(Box::new(ours) as Box<dyn Duplex>)
        })
    }
}

async fn serve(mut stream: DuplexStream) {
    let head = head(&mut stream).await;
    let line = head.lines().next().unwrap().to_owned();
    match line.as_str() {
        "GET /portForward/default/a?port=8080 HTTP/1.1" => {
            assert!(head.contains("upgrade: tcp"), "{head}");
            let yes =
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n";
            stream.write_all(yes.as_bytes()).await.unwrap();
            let asked = self::head(&mut stream).await;
            let mut kept: Vec<&str> = asked
                .lines()
                .filter(|line| {
                    ["GET ", "POST ", "OPTIONS ", "host:", "authorization:", "x-"]
                        .iter()
                        .any(|p| line.starts_with(p))
                })
                .collect();
            kept.sort_unstable();
            let moved = if asked.contains("/moved") { "location: /elsewhere\r\n" } else { "" };
            if asked.contains("/page") {
                let page = "200 OK\r\ncontent-type: text/html; charset=utf-8\r\n";
                return answer(&mut stream, page, "<a href=\"/x\">x</a>").await;
            }
            answer(&mut stream, &format!("200 OK\r\n{moved}"), &kept.join("; ")).await;
        }
        "GET /stats/summary?only_cpu_and_memory=true HTTP/1.1" => {
            let summary = r#"{"windowSeconds":15,"pods":[],"node":{"cpu":{"time":"2026-01-01T00:00:00Z","usageNanoCores":5},"memory":{"workingSetBytes":2048}}}"#;
            answer(&mut stream, "200 OK\r\n", summary).await;
        }
        _ => answer(&mut stream, "502 Bad Gateway\r\n", "connection refused").await,
    }
}

async fn head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn answer(stream: &mut DuplexStream, head: &str, body: &str) {
    let text = format!("HTTP/1.1 {head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
}

const OBJECTS: &str = r#"
POST /api/v1/namespaces/default/serviceaccounts | /metadata/name
{"metadata":{"name":"default"}}

POST /api/v1/nodes | /metadata/name
{"metadata":{"name":"n1"}}

POST /api/v1/namespaces/default/pods | /metadata/name
{"metadata":{"name":"a"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i","ports":[{"containerPort":8080}]}]}}

PATCH /api/v1/namespaces/default/pods/a/status | /status/podIP
Content-Type: application/merge-patch+json
{"status":{"podIP":"10.128.0.2"}}

POST /api/v1/namespaces/default/services | /metadata/name
{"metadata":{"name":"web"},"spec":{"ports":[{"name":"http","port":80,"targetPort":8080}]}}

POST /apis/discovery.k8s.io/v1/namespaces/default/endpointslices | /metadata/name
{"metadata":{"name":"web-1","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","ports":[{"name":"http","port":8080}],"endpoints":[{"addresses":["10.128.0.2"],"targetRef":{"kind":"Pod","name":"a","namespace":"default"}}]}
"#;

async fn session() -> Session {
    let session = Session::with_nodes(Arc::new(Agent)).await;
    let made = session.run(OBJECTS).await;
    assert!(made.lines().all(|line| line.starts_with("20") || line.starts_with(' ')), "{made}");
    session
}

#[tokio::test]
async fn pods_and_services_are_reached_by_every_name() {
    let output = session()
        .await
        .run(
            r#"
GET /api/v1/namespaces/default/pods/a/proxy/
Authorization: Bearer secret

POST /api/v1/namespaces/default/pods/http:a:8080/proxy/b%20c/d/?e=f
X-Own: 1

GET /api/v1/namespaces/default/services/web:http/proxy/x

GET /api/v1/namespaces/default/services/web:80/proxy/x

GET /api/v1/namespaces/default/pods/a:81/proxy/

GET /api/v1/namespaces/default/pods/ftp:a:81/proxy/

GET /api/v1/namespaces/default/pods/nosuch/proxy/

GET /api/v1/namespaces/default/services/web:82/proxy/

GET /api/v1/namespaces/default/services/web:other/proxy/

GET /api/v1/nodes/nosuch/proxy/healthz
"#,
        )
        .await;
    expect![[r#"
        200 GET / HTTP/1.1; host: 10.128.0.2:8080; x-forwarded-proto: https; x-forwarded-uri: /api/v1/namespaces/default/pods/a/proxy/
        200 POST /b%20c/d/?e=f HTTP/1.1; host: 10.128.0.2:8080; x-forwarded-proto: https; x-forwarded-uri: /api/v1/namespaces/default/pods/http:a:8080/proxy/b%20c/d/; x-own: 1
        200 GET /x HTTP/1.1; host: 10.128.0.2:8080; x-forwarded-proto: https; x-forwarded-uri: /api/v1/namespaces/default/services/web:http/proxy/x
        200 GET /x HTTP/1.1; host: 10.128.0.2:8080; x-forwarded-proto: https; x-forwarded-uri: /api/v1/namespaces/default/services/web:80/proxy/x
        503 ServiceUnavailable: error trying to reach service: dial tcp 10.128.0.2:81: connection refused
        400 BadRequest: invalid pod request "ftp:a:81"
        404 NotFound: pods "nosuch" not found
          {"kind":"pods","name":"nosuch"}
        503 ServiceUnavailable: no service port 82 found for service "web"
        503 ServiceUnavailable: no endpoints available for service "web:other"
        404 NotFound: nodes "nosuch" not found
          {"kind":"nodes","name":"nosuch"}
    "#]].assert_eq(&output);
}

#[tokio::test]
async fn pages_link_through_the_proxy_and_options_are_asked_for() {
    let output = session()
        .await
        .run(
            r#"
GET /api/v1/namespaces/default/pods/a/proxy/page

GET /api/v1/namespaces/default/services/web:http/proxy/page

OPTIONS /api/v1/namespaces/default/pods/a/proxy/x

OPTIONS /api/v1/namespaces/default/pods/a
"#,
        )
        .await;
    expect![[r#"
        200 <a href="/api/v1/namespaces/default/pods/a/proxy/x">x</a>
        200 <a href="/api/v1/namespaces/default/services/web:http/proxy/x">x</a>
        200 OPTIONS /x HTTP/1.1; host: 10.128.0.2:8080; x-forwarded-proto: https; x-forwarded-uri: /api/v1/namespaces/default/pods/a/proxy/x
        405 MethodNotAllowed: the server does not allow this method on the requested resource
          {}
    "#]].assert_eq(&output);
}

#[tokio::test]
async fn redirects_lead_through_the_proxy_again() {
    let session = session().await;
    let location = |answer: http::Response<coracle_apiserver::body::Body>| {
        let value = answer.headers()["location"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), value)
    };
    let base = "/api/v1/namespaces/default/pods/a/proxy";
    let root = session.send(&format!("GET {base}?a=b")).await;
    assert_eq!(location(root), (301, format!("{base}/?a=b")));
    let moved = session.send(&format!("GET {base}/moved")).await;
    assert_eq!(location(moved), (200, format!("{base}/elsewhere")));
}

#[tokio::test]
async fn streams_that_cannot_be_are_refused() {
    let session = session().await;
    let script = r#"
POST /api/v1/namespaces/default/pods/a/exec?command=ls&stdout=true

GET /api/v1/namespaces/default/pods/a/attach?container=x

GET /api/v1/namespaces/default/pods/nosuch/portforward

DELETE /api/v1/namespaces/default/pods/a/exec
"#;
    let output = session.run(script).await;
    expect![[r#"
        400 BadRequest: Upgrade request required
        400 BadRequest: container x is not valid for pod a
        404 NotFound: pods "nosuch" not found
          {"kind":"pods","name":"nosuch"}
        405 MethodNotAllowed: the server does not allow this method on the requested resource
          {}
    "#]]
    .assert_eq(&output);
}

#[tokio::test]
async fn policies_say_which_streams_may_be() {
    let session = session().await;
    session
        .run(
            r#"
POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies | /metadata/name
{"metadata":{"name":"calm"},"spec":{
 "matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CONNECT"],
  "resources":["pods/exec","pods/attach","pods/proxy"]}]},
 "matchConditions":[{"name":"people","expression":"request.operation == 'CONNECT' && request.resource.resource == 'pods'"}],
 "validations":[
  {"expression":"object.kind != 'PodExecOptions' || !('rm' in object.command)","message":"nothing is removed here"},
  {"expression":"object.kind != 'PodAttachOptions' || request.subResource != 'attach'","message":"nobody is attached"},
  {"expression":"object.kind != 'PodProxyOptions' || !object.path.startsWith('/debug')","message":"no debugging"}]}}

POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings | /metadata/name
{"metadata":{"name":"calm"},"spec":{"policyName":"calm","validationActions":["Deny"]}}
"#,
        )
        .await;
    let script = r#"
POST /api/v1/namespaces/default/pods/a/exec?command=rm&command=-r | /code

POST /api/v1/namespaces/default/pods/a/exec?command=ls

POST /api/v1/namespaces/default/pods/a/attach | /code

GET /api/v1/namespaces/default/pods/a/proxy/debug/heap | /code

GET /api/v1/namespaces/default/pods/nosuch/portforward
"#;
    let output = session.run(script).await;
    let said: Vec<&str> = output.lines().filter(|line| !line.starts_with("  ")).collect();
    expect![[r#"
        422 Invalid: pods "a" is forbidden: ValidatingAdmissionPolicy 'calm' with binding 'calm' denied request: nothing is removed here
        400 BadRequest: Upgrade request required
        422 Invalid: pods "a" is forbidden: ValidatingAdmissionPolicy 'calm' with binding 'calm' denied request: nobody is attached
        422 Invalid: pods "a" is forbidden: ValidatingAdmissionPolicy 'calm' with binding 'calm' denied request: no debugging
        404 NotFound: pods "nosuch" not found
    "#]].assert_eq(&format!("{}\n", said.join("\n")));
}

#[tokio::test]
async fn who_may_only_get_does_not_run_commands() {
    let session = session().await;
    session
        .run(
            r#"
POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles | /metadata/name
{"metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["pods/exec"],"verbs":["get"]}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings | /metadata/name
{"metadata":{"name":"r"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"reader"}]}
"#,
        )
        .await;
    let script =
        "GET /api/v1/namespaces/default/pods/a/exec?command=ls&stdout=true | /code /message";
    let output = session.run_as(UserInfo::new("reader", ["system:authenticated"]), script).await;
    expect![[r#"
        403 Forbidden: pods "a" is forbidden: User "reader" cannot create resource "pods/exec" in API group "" in the namespace "default"
          {"kind":"pods","name":"a"}
    "#]].assert_eq(&output);
}

#[tokio::test]
async fn usage_is_asked_of_the_nodes() {
    let session = session().await;
    let output = session
        .run(
            r#"
GET /apis/metrics.k8s.io/v1beta1/nodes

GET /apis/metrics.k8s.io/v1beta1/nodes/n1 | /kind /usage

GET /apis/metrics.k8s.io/v1beta1/nodes | /kind /columnDefinitions/1/name /rows/0/cells
Accept: application/json;as=Table;v=v1;g=meta.k8s.io

GET /apis/metrics.k8s.io/v1beta1/nodes/nosuch

GET /apis/metrics.k8s.io/v1beta1/namespaces/default/pods

POST /apis/metrics.k8s.io/v1beta1/nodes

GET /apis/metrics.k8s.io/v1beta1/others

GET /apis/metrics.k8s.io/v1beta1
"#,
        )
        .await;
    expect![[r#"
        200 {"apiVersion":"metrics.k8s.io/v1beta1","items":[{"apiVersion":"metrics.k8s.io/v1beta1","kind":"NodeMetrics","metadata":{"creationTimestamp":"TIME","name":"n1"},"timestamp":"TIME","usage":{"cpu":"5n","memory":"2Ki"},"window":"15s"}],"kind":"NodeMetricsList","metadata":{}}
        200
          /kind "NodeMetrics"
          /usage {"cpu":"5n","memory":"2Ki"}
        200
          /kind "Table"
          /columnDefinitions/1/name "cpu"
          /rows/0/cells ["n1","5n","2Ki","15s"]
        404 NotFound: nodes.metrics.k8s.io "nosuch" not found
          {"group":"metrics.k8s.io","kind":"nodes","name":"nosuch"}
        200 {"apiVersion":"metrics.k8s.io/v1beta1","items":[],"kind":"PodMetricsList","metadata":{}}
        405 MethodNotAllowed: the server does not allow this method on the requested resource
          {}
        404 NotFound: the server could not find the requested resource
          {}
        200 {"apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","kind":"APIResourceList","resources":[{"kind":"NodeMetrics","name":"nodes","namespaced":false,"singularName":"","verbs":["get","list"]},{"kind":"PodMetrics","name":"pods","namespaced":true,"singularName":"","verbs":["get","list"]}]}
    "#]].assert_eq(&output);
}

#[tokio::test]
async fn ephemeral_containers_are_added_and_nothing_else() {
    let session = session().await;
    let output = session
        .run(
            r#"
PATCH /api/v1/namespaces/default/pods/a/ephemeralcontainers | /spec/ephemeralContainers/0/name /spec/ephemeralContainers/0/terminationMessagePath /spec/containers/0/image /metadata/generation
Content-Type: application/strategic-merge-patch+json
{"spec":{"containers":[{"name":"c","image":"other"}],"ephemeralContainers":[{"name":"debug","image":"tools","targetContainerName":"c"}]}}

PATCH /api/v1/namespaces/default/pods/a/ephemeralcontainers | /message
Content-Type: application/strategic-merge-patch+json
{"spec":{"ephemeralContainers":[{"name":"debug","image":"changed"}]}}

GET /api/v1/namespaces/default/pods/a/ephemeralcontainers | /kind /spec/ephemeralContainers/0/image
"#,
        )
        .await;
    expect![[r#"
        200
          /spec/ephemeralContainers/0/name "debug"
          /spec/ephemeralContainers/0/terminationMessagePath "/dev/termination-log"
          /spec/containers/0/image "i"
          /metadata/generation 2
        422 Invalid: Pod "a" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be changed

          {"causes":[{"field":"spec.ephemeralContainers","message":"Forbidden: existing ephemeral containers \"debug\" may not be changed\n","reason":"FieldValueForbidden"}],"kind":"Pod","name":"a"}
        200
          /kind "Pod"
          /spec/ephemeralContainers/0/image "tools"
    "#]].assert_eq(&output);
}
