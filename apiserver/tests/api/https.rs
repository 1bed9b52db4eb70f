//! An HTTPS server of a few lines: what the server under test talks to.

use std::convert::Infallible;

use bytes::Bytes;
use coracle_apiserver::pki::Pki;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers JSON with JSON; gives the port, and the authority's certificate in PEM.
pub(crate) async fn serve(answer: fn(&Value) -> Value) -> (u16, String) {
    let folder = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "TLS checks certificates against the real clock")]
    let pki = Pki::open(folder.path(), jiff::Timestamp::now()).unwrap();
    let tls = pki.server_config(&pki.issue_serving(&[]).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(tls);
    let handle = move |request: Request<Incoming>| async move {
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let asked = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer(&asked).to_string()))))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                let service = service_fn(handle);
                let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, pki.ca_certificate().to_owned())
}
