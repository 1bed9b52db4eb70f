//! What stands between the agent and the API server in these tests: it can be shut, and it can give
//! tokens of a life so short that a renewal comes while a test looks on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use coracle_apiserver::InProcess;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::{BoxError, Service};

type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;

#[derive(Default)]
pub(crate) struct State {
    /// Every request fails, as when nobody listens.
    pub(crate) shut: AtomicBool,
    /// Seconds for which tokens are good; 0: the API server's own tokens.
    pub(crate) token_seconds: AtomicU64,
    issued: AtomicU64,
}

#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) state: Arc<State>,
    pub(crate) server: InProcess,
}

impl Service<Request<kube::client::Body>> for Gate {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        if self.state.shut.load(Ordering::SeqCst) {
            return Box::pin(async { Err("connection refused".into()) });
        }
        let life = self.state.token_seconds.load(Ordering::SeqCst);
        if life > 0 && request.uri().path().ends_with("/token") {
            let number = self.state.issued.fetch_add(1, Ordering::SeqCst) + 1;
            return Box::pin(give(request, number, life));
        }
        let answer = self.server.call(request);
        Box::pin(async move {
            let Ok(answer) = answer.await;
            Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// A token that says what it is: number, pod and audience.
#[expect(clippy::disallowed_methods, reason = "a token ends some seconds from now")]
async fn give(
    request: Request<kube::client::Body>,
    number: u64,
    life: u64,
) -> Result<Response<Body>, BoxError> {
    let asked: Value = serde_json::from_slice(&request.into_body().collect().await?.to_bytes())?;
    let pod = &asked["spec"]["boundObjectRef"]["name"];
    let audience = asked["spec"]["audiences"][0].as_str().unwrap_or("api");
    let token = format!("token-{number}-{}-{audience}", pod.as_str().unwrap_or_default());
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(life.try_into()?);
    let answer = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
        "spec": asked["spec"],
        "status": {"token": token, "expirationTimestamp": until.to_string()},
    });
    let body = Full::from(serde_json::to_vec(&answer)?).map_err(|never| match never {});
    Ok(Response::builder().status(201).body(body.boxed_unsync())?)
}
