//! Who may do what, as the server says it.

use crate::harness::Session;
use coracle_apiserver::authn::UserInfo;
use expect_test::expect;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;

#[tokio::test]
async fn others_get_403() {
    let session = Session::start().await;
    let service = session.server.in_process(UserInfo::new("bob", ["dev"]));
    let mut out = String::new();
    for path in
        ["/api/v1/namespaces/default/pods", "/metrics", "/api/v1/nodes/n", "/version", "/v2/"]
    {
        let request = Request::get(path).body(Full::<bytes::Bytes>::default()).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        out.push_str(&format!("{code} {}\n", value["message"].as_str().unwrap_or("")));
    }
    expect![[r#"
        403 pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default"
        403 forbidden: User "bob" cannot get path "/metrics"
        403 nodes "n" is forbidden: User "bob" cannot get resource "nodes" in API group "" at the cluster scope
        200 
        200 
    "#]].assert_eq(&out);
}
