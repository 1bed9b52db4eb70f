//! The server without a socket: a tower service for clients in the same process.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use tower::Service;

use crate::authn::UserInfo;
use crate::body::{self, Body, BoxError};
use crate::gate::Caller;
use crate::server::{ApiServer, Core};

/// The server as one user sees it; a clone is the same.
///
/// Requests take the same way as those from outside, authorization and admission included; only TLS and the check of
/// credentials are left out. Fits `kube::Client::new`.
#[derive(Clone)]
pub struct InProcess {
    core: Arc<Core>,
    user: Arc<UserInfo>,
}

impl ApiServer {
    /// Gives the server as this user sees it.
    pub fn in_process(&self, user: UserInfo) -> InProcess {
        InProcess { core: self.core.clone(), user: Arc::new(user) }
    }
}

impl<B> Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (core, user) = (self.core.clone(), self.user.clone());
        let mut request = request.map(body::boxed);
        if let (None, Ok(name)) =
            (request.headers().get(USER_AGENT), HeaderValue::from_str(&user.name))
        {
            // So that `managedFields` says which part of the program wrote.
            request.headers_mut().insert(USER_AGENT, name);
        }
        Box::pin(async move { Ok(core.handle(request, Caller::Known(user)).await) })
    }
}
