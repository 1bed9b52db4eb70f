//! The server on a socket, with real TLS.

use std::sync::Arc;

use bytes::Bytes;
use coracle_apiserver::pki::Pki;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::harness::Session;

/// A server on a socket.
pub(crate) struct Served {
    pub(crate) session: Session,
    pki: Pki,
    address: std::net::SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

async fn serve() -> Served {
    serve_session(Session::start().await).await
}

/// Puts a server on a socket.
pub(crate) async fn serve_session(session: Session) -> Served {
    let pki = Pki::open(&session.folder.path().join("pki"), jiff_now()).unwrap();
    let tls = pki.server_config(&pki.issue_serving(&[]).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = session.server.clone();
    let task = tokio::spawn(async move { server.serve(listener, tls).await });
    Served { session, pki, address, task }
}

#[expect(clippy::disallowed_methods, reason = "certificates must be valid now")]
fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

impl Served {
    pub(crate) fn client(&self, user: Option<(&str, &str)>) -> Arc<ClientConfig> {
        let identity = user.map(|(user, group)| self.pki.issue_client(user, Some(group)).unwrap());
        self.pki.client_config(identity.as_ref()).unwrap()
    }

    pub(crate) async fn connect(
        &self,
        config: Arc<ClientConfig>,
        alpn: &[&str],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut config = (*config).clone();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    pub(crate) async fn http1(
        &self,
        config: Arc<ClientConfig>,
        request: Request<Full<Bytes>>,
    ) -> Response<Incoming> {
        let stream = self.connect(config, &["http/1.1"]).await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    pub(crate) async fn http2(
        &self,
        config: Arc<ClientConfig>,
        request: Request<Full<Bytes>>,
    ) -> Response<Incoming> {
        let stream = self.connect(config, &["h2"]).await;
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://localhost{path}"))
        .header("host", "localhost")
        .body(Full::default())
        .unwrap()
}

pub(crate) async fn value(answer: Response<Incoming>) -> Value {
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn certificates_tokens_and_strangers() {
    let served = serve().await;
    let admin = served.client(Some(("admin", "system:masters")));
    let answer = served.http1(admin.clone(), get("/api/v1/namespaces/default")).await;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_11));
    let answer = served.http2(admin, get("/api/v1/namespaces/default")).await;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    let nobody = served.client(None);
    let answer = served.http2(nobody.clone(), get("/api/v1/namespaces/default")).await;
    assert_eq!(answer.status().as_u16(), 403);
    let refusal = value(answer).await["message"].to_string();
    assert!(refusal.contains("User \\\"system:anonymous\\\" cannot get resource"), "{refusal}");
    let with = |authorization: &str| {
        let mut request = get("/api/v1/namespaces/default");
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
        request
    };
    assert_eq!(served.http2(nobody.clone(), with("Bearer wrong")).await.status().as_u16(), 401);
    assert_eq!(served.http2(nobody.clone(), with("Bearer secret")).await.status().as_u16(), 403);
    assert_eq!(served.http2(nobody.clone(), with("Bearer admin")).await.status().as_u16(), 200);
    let images = served.http1(nobody.clone(), get("/v2/")).await;
    assert_eq!(images.status().as_u16(), 401);
    assert_eq!(images.headers()["www-authenticate"], "Basic realm=\"coracle\"");
    let mut request = get("/v2/");
    request.headers_mut().insert("authorization", "Basic eDphZG1pbg==".parse().unwrap());
    assert_eq!(served.http1(nobody, request).await.status().as_u16(), 200);
}

#[tokio::test]
async fn what_nobody_in_particular_may_do_is_up_to_roles() {
    let served = serve().await;
    let nobody = served.client(None);
    let keys = || get("/openid/v1/jwks");
    assert_eq!(served.http2(nobody.clone(), get("/livez")).await.status().as_u16(), 200);
    assert_eq!(served.http2(nobody.clone(), keys()).await.status().as_u16(), 403);
    served
        .session
        .value(
            r#"POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings
            {"metadata": {"name": "federation"},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "system:service-account-issuer-discovery"},
             "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
                "name": "system:unauthenticated"}]}"#,
        )
        .await;
    let answer = served.http2(nobody, keys()).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert!(value(answer).await["keys"].is_array());
}

#[tokio::test]
async fn a_server_may_demand_credentials_of_everybody() {
    let served = serve_session(Session::with(|config| config.anonymous_auth = false).await).await;
    for path in ["/livez", "/api/v1/namespaces/default"] {
        let answer = served.http2(served.client(None), get(path)).await;
        assert_eq!(answer.status().as_u16(), 401);
        assert_eq!(value(answer).await["message"], "Unauthorized");
    }
}

#[tokio::test]
async fn large_bodies_and_heads_over_both_versions() {
    let served = serve().await;
    let admin = served.client(Some(("admin", "system:masters")));
    let head = || {
        let mut request = get("/api/v1/namespaces/default");
        *request.method_mut() = http::Method::HEAD;
        request
    };
    let large = || {
        let body = Bytes::from(vec![b'x'; 4 * 1024 * 1024]);
        let path = "https://localhost/api/v1/namespaces/default/configmaps";
        Request::post(path).header("host", "localhost").body(Full::from(body)).unwrap()
    };
    for request in [head(), large()] {
        let expected = if request.method() == http::Method::HEAD { 200 } else { 413 };
        let first = served.http1(admin.clone(), request.clone()).await;
        let second = served.http2(admin.clone(), request).await;
        for answer in [first, second] {
            assert_eq!(answer.status().as_u16(), expected);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.is_empty(), expected == 200);
        }
    }
}

#[tokio::test]
async fn a_watch_streams_over_both_versions_and_ends_with_the_server() {
    let served = serve().await;
    let admin = served.client(Some(("admin", "system:masters")));
    let path = "/api/v1/configmaps?watch=true";
    let mut first = served.http1(admin.clone(), get(path)).await.into_body();
    let mut second = served.http2(admin, get(path)).await.into_body();
    served
        .session
        .value("POST /api/v1/namespaces/default/configmaps\n{\"metadata\":{\"name\":\"a\"}}")
        .await;
    for body in [&mut first, &mut second] {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(frame.starts_with(b"{\"type\":\"ADDED\""));
    }
    served.session.server.shut_down();
    for body in [first, second] {
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
    }
    served.task.await.unwrap();
}
