//! A client whose certificate can be changed while it is used.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use parking_lot::RwLock;
use tower::Service;

/// Sends each request by the newest client; what is under way goes on by the older one.
#[derive(Clone)]
pub(crate) struct Switch(Arc<RwLock<kube::Client>>);

impl Switch {
    /// Begins with a client.
    pub(crate) fn new(client: kube::Client) -> Self {
        Self(Arc::new(RwLock::new(client)))
    }

    /// From now on sends by another client.
    pub(crate) fn set(&self, client: kube::Client) {
        *self.0.write() = client;
    }

    /// The client that everything else uses.
    pub(crate) fn client(&self) -> coracle_client::Client {
        coracle_client::Client::in_process(self.clone())
    }
}

impl Service<Request<Body>> for Switch {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.read().clone();
        async move { client.send(request).await }.boxed()
    }
}
