//! A group that a Service of the cluster serves: its pod is a TLS server here, behind an agent of a few lines.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_apiserver::pki::Pki;
use coracle_apiserver::{Duplex, FrontProxy, NodeDialer};
use expect_test::expect;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::Session;

/// An agent whose only pod is an API server of cats.
struct Agent(TlsAcceptor);

impl NodeDialer for Agent {
    fn dial<'a>(&'a self, _node: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        let acceptor = self.0.clone();
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(serve(acceptor, theirs));
            Ok(Box::new(ours) as Box<dyn Duplex>)
        })
    }
}

/// Forwards the port, as an agent does, and then is the pod.
async fn serve(acceptor: TlsAcceptor, mut stream: DuplexStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("GET /portForward/default/cats?port=8443 "), "{head}");
    let yes = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n";
    stream.write_all(yes.as_bytes()).await.unwrap();
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let vouched = stream.get_ref().1.peer_certificates().is_some();
    let service =
        service_fn(move |request| async move { Ok::<_, Infallible>(answer(&request, vouched)) });
    let _ended =
        Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn answer(request: &Request<Incoming>, vouched: bool) -> Response<Full<Bytes>> {
    let all = |name: &str| -> Vec<&str> {
        request.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    };
    let document = match request.uri().path() {
        "/apis/cats.example.com/v1" => json!({"kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": "cats.example.com/v1", "resources": [
            {"name": "cats", "singularName": "cat", "namespaced": true, "kind": "Cat", "verbs": ["get", "list"]}]}),
        "/openapi/v3" => json!({"paths": {"apis/cats.example.com/v1":
            {"serverRelativeURL": "/openapi/v3/apis/cats.example.com/v1?hash=ABC"}}}),
        "/openapi/v3/apis/cats.example.com/v1" => json!({"info": {"title": "Cats"}, "paths": {
            "/apis/cats.example.com/v1/cats": {"get": {"operationId": "listCats", "responses": {}}},
            "/api/v1/pods": {"get": {"operationId": "stolen", "responses": {}}}},
            "components": {"schemas": {"com.example.Cat": {"type": "object"}}},
            "path": request.uri().path(), "query": request.uri().query()}),
        path => {
            json!({"method": request.method().as_str(), "path": path, "query": request.uri().query(),
            "user": all("x-remote-user"), "groups": all("x-remote-group"), "vouched": vouched,
            "authorization": all("authorization")})
        }
    };
    let mut answer = Response::new(Full::new(Bytes::from(document.to_string())));
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}

const OBJECTS: &str = r#"
POST /api/v1/namespaces/default/serviceaccounts | /metadata/name
{"metadata":{"name":"default"}}

POST /api/v1/nodes | /metadata/name
{"metadata":{"name":"n1"}}

POST /api/v1/namespaces/default/pods | /metadata/name
{"metadata":{"name":"cats"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}}

PATCH /api/v1/namespaces/default/pods/cats/status | /status/podIP
Content-Type: application/merge-patch+json
{"status":{"podIP":"10.128.0.2"}}

POST /api/v1/namespaces/default/services | /metadata/name
{"metadata":{"name":"cats"},"spec":{"ports":[{"name":"https","port":443,"targetPort":8443}]}}

POST /apis/discovery.k8s.io/v1/namespaces/default/endpointslices | /metadata/name
{"metadata":{"name":"cats-1","labels":{"kubernetes.io/service-name":"cats"}},"addressType":"IPv4","ports":[{"name":"https","port":8443}],"endpoints":[{"addresses":["10.128.0.2"],"targetRef":{"kind":"Pod","name":"cats","namespace":"default"}}]}
"#;

/// Waits until the APIService's condition has a reason.
async fn settled(session: &Session, reason: &str) {
    let look = async {
        loop {
            let found = session
                .value("GET /apis/apiregistration.k8s.io/v1/apiservices/v1.cats.example.com")
                .await;
            if found["status"]["conditions"][0]["reason"] == reason {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(120), look).await;
    assert!(settled.is_ok(), "the APIService does not become {reason}");
}

async fn start() -> (Session, Value) {
    let folder = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "TLS checks certificates against the real clock")]
    let pki = Pki::open(folder.path(), jiff::Timestamp::now()).unwrap();
    let serving = pki.issue_serving(&["cats.default.svc".to_owned()]).unwrap();
    let acceptor = TlsAcceptor::from(pki.server_config(&serving).unwrap());
    let front = FrontProxy::new(&pki, "the cluster's").unwrap();
    let session = Session::with(|config| {
        config.nodes = Arc::new(Agent(acceptor));
        config.front_proxy = Some(front);
    })
    .await;
    let service = json!({"metadata": {"name": "v1.cats.example.com"}, "spec": {
        "group": "cats.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
        "caBundle": STANDARD.encode(pki.ca_certificate()),
        "service": {"namespace": "default", "name": "cats"}}});
    (session, service)
}

#[tokio::test]
async fn a_group_is_served_by_a_pod() {
    let (session, service) = start().await;
    let create =
        format!("POST /apis/apiregistration.k8s.io/v1/apiservices | /metadata/name\n{service}");
    session.run(&create).await;
    settled(&session, "ServiceNotFound").await;
    expect![[r#"
        503 ServiceUnavailable: service unavailable
    "#]]
    .assert_eq(&session.run("GET /apis/cats.example.com/v1/cats").await);
    session.run(OBJECTS).await;
    settled(&session, "Passed").await;
    let aggregated = "GET /apis | /items\nAccept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let listed = session.value(aggregated).await;
    let groups = listed["items"].as_array().unwrap();
    let cats = groups.iter().find(|group| group["metadata"]["name"] == "cats.example.com").unwrap();
    let script = r#"
GET /apis/cats.example.com | /preferredVersion/groupVersion

GET /apis/cats.example.com/v1 | /resources/0/kind

GET /openapi/v3 | /paths/apis~1cats.example.com~1v1/serverRelativeURL

GET /openapi/v3/apis/cats.example.com/v1?hash=ABC | /path /query

GET /openapi/v2 | /info/title /paths/~1apis~1cats.example.com~1v1~1cats/get/operationId /paths/~1api~1v1~1pods/get/operationId /definitions/com.example.Cat

DELETE /apis/cats.example.com/v1/namespaces/a/cats/b?x=y
Authorization: Bearer secret
X-Remote-User: mallory

GET /api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication | /data/client-ca-file /data/requestheader-allowed-names
"#;
    expect![[r#"
        [{"freshness":"Current","resources":[{"resource":"cats","responseKind":{"group":"cats.example.com","kind":"Cat","version":"v1"},"scope":"Namespaced","singularResource":"cat","verbs":["get","list"]}],"version":"v1"}]
        200
          /preferredVersion/groupVersion "cats.example.com/v1"
        200
          /resources/0/kind "Cat"
        200
          /paths/apis~1cats.example.com~1v1/serverRelativeURL "/openapi/v3/apis/cats.example.com/v1?hash=ABC"
        200
          /path "/openapi/v3/apis/cats.example.com/v1"
          /query "hash=ABC"
        200
          /info/title "Kubernetes"
          /paths/~1apis~1cats.example.com~1v1~1cats/get/operationId "listCats"
          /paths/~1api~1v1~1pods/get/operationId "listCoreV1PodForAllNamespaces"
          /definitions/com.example.Cat {"type":"object"}
        200 {"authorization":[],"groups":["system:masters","system:authenticated"],"method":"DELETE","path":"/apis/cats.example.com/v1/namespaces/a/cats/b","query":"x=y","user":["admin"],"vouched":true}
        200
          /data/client-ca-file "the cluster's"
          /data/requestheader-allowed-names "[\"front-proxy-client\"]"
    "#]].assert_eq(&format!("{}\n{}", cats["versions"], session.run(script).await));
    // A watch of it has no seat: when its events begin is not for this server to say.
    let ann = coracle_apiserver::authn::UserInfo::new("ann", []);
    session.run_as(ann, "GET /apis/cats.example.com/v1/cats?watch=true").await;
    let labels = r#"{priority_level="global-default",flow_schema="global-default"}"#;
    let line = format!("apiserver_flowcontrol_dispatched_requests_total{labels} 0");
    let metrics = session.run("GET /metrics").await;
    assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    session.run("DELETE /api/v1/namespaces/default/services/cats").await;
    session.run("PATCH /apis/apiregistration.k8s.io/v1/apiservices/v1.cats.example.com\nContent-Type: application/merge-patch+json\n{\"spec\":{\"versionPriority\":11}}").await;
    settled(&session, "ServiceNotFound").await;
}

#[tokio::test]
async fn a_pod_is_reached_by_https_through_the_proxy() {
    let (session, _) = start().await;
    session.run(OBJECTS).await;
    let script = r#"
GET /api/v1/namespaces/default/pods/https:cats:8443/proxy/hello | /path /vouched

GET /api/v1/namespaces/default/services/https:cats:443/proxy/hello | /path /vouched
"#;
    expect![[r#"
        200
          /path "/hello"
          /vouched false
        200
          /path "/hello"
          /vouched false
    "#]]
    .assert_eq(&session.run(script).await);
}

#[tokio::test]
async fn a_built_in_group_is_never_handed_over() {
    let (session, mut service) = start().await;
    session.run(OBJECTS).await;
    service["metadata"]["name"] = json!("v1.apps");
    service["spec"]["group"] = json!("apps");
    let script = format!(
        "DELETE /apis/apiregistration.k8s.io/v1/apiservices/v1.apps | /status\n\nPOST /apis/apiregistration.k8s.io/v1/apiservices | /metadata/name\n{service}\n\nGET /apis/apps/v1/deployments | /kind"
    );
    expect![[r#"
        200
          /status "Success"
        409 AlreadyExists: apiservices.apiregistration.k8s.io "v1.apps" already exists
          {"group":"apiregistration.k8s.io","kind":"apiservices","name":"v1.apps"}
        200
          /kind "DeploymentList"
    "#]]
    .assert_eq(&session.run(&script).await);
}
