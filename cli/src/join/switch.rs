//! The host's way to its cluster: a client for each server, of which one is used until it fails, and whose certificate
//! can be changed while they are used.
//!
//! An edge: requests go out here.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Frame;
use kube::client::Body;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::{BoxError, Service};

use crate::client;

/// How long a server may take until its answer begins, where there is another: longer than any answer takes that is not
/// a stream.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

struct Servers {
    /// By URL.
    clients: Vec<(String, kube::Client)>,
    current: usize,
    /// Counts how often a server was left.
    left: watch::Sender<u64>,
}

/// Sends each request to the server that answered last; the next one is asked when that fails.
#[derive(Clone)]
pub(crate) struct Switch(Arc<RwLock<Servers>>);

impl Switch {
    /// Clients of servers at these URLs, by a kubeconfig that names one of them.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub(crate) async fn open(kubeconfig: &Path, urls: &[String]) -> anyhow::Result<Self> {
        let clients = clients(kubeconfig, urls).await?;
        Ok(Self(Arc::new(RwLock::new(Servers {
            clients,
            current: 0,
            left: watch::Sender::new(0),
        }))))
    }

    /// From now on uses the kubeconfig as it is now, for the servers at these URLs; what is under way goes on.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used; then all is as before.
    pub(crate) async fn renew(&self, kubeconfig: &Path, urls: &[String]) -> anyhow::Result<()> {
        let clients = clients(kubeconfig, urls).await?;
        let mut servers = self.0.write();
        let now = servers.clients.get(servers.current).map(|(url, _)| url.clone());
        servers.current =
            clients.iter().position(|(url, _)| Some(url) == now.as_ref()).unwrap_or(0);
        servers.clients = clients;
        Ok(())
    }

    /// The URLs of the servers that are known.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.0.read().clients.iter().map(|(url, _)| url.clone()).collect()
    }

    /// The client that everything else uses.
    pub(crate) fn client(&self) -> coracle_client::Client {
        coracle_client::Client::in_process(self.clone())
    }

    /// A server failed: others are asked from now on, unless that happened already.
    fn leave(&self, failed: &str) {
        let mut servers = self.0.write();
        let count = servers.clients.len();
        let is_current = servers.clients.get(servers.current).is_some_and(|(url, _)| url == failed);
        if count > 1 && is_current {
            servers.current = (servers.current + 1) % count;
            servers.left.send_modify(|count| *count += 1);
            let next = servers.clients.get(servers.current).map(|(url, _)| url.as_str());
            tracing::info!(failed, next, "asking another server");
        }
    }
}

/// The body of an answer, which breaks off when its server is left: a watch of a server that is silent would not end.
pub(crate) struct UntilLeft {
    body: Body,
    left: BoxFuture<'static, ()>,
}

impl UntilLeft {
    fn new(body: Body, mut left: watch::Receiver<u64>) -> Self {
        let left = async move {
            if left.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        Self { body, left: left.boxed() }
    }
}

impl hyper::body::Body for UntilLeft {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match self.left.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err("another server is asked now".into()))),
            Poll::Pending => Poll::Pending,
        }
    }
}

async fn clients(path: &Path, urls: &[String]) -> anyhow::Result<Vec<(String, kube::Client)>> {
    let mut clients = Vec::new();
    for url in urls {
        clients.push((url.clone(), client::of_kubeconfig_at(path, Some(url)).await?));
    }
    Ok(clients)
}

impl Service<Request<Body>> for Switch {
    type Response = Response<UntilLeft>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let switch = self.clone();
        let (current, alone, left) = {
            let servers = self.0.read();
            let current = servers.clients.get(servers.current).cloned();
            (current, servers.clients.len() < 2, servers.left.subscribe())
        };
        async move {
            let Some((url, client)) = current else { return Err("no server is known".into()) };
            if alone {
                let answer = client.send(request).await?;
                return Ok(answer.map(|body| UntilLeft::new(body, left)));
            }
            let answer = timeout(ANSWER_TIME_MAX, client.send(request)).await;
            match answer {
                Ok(Ok(answer)) => {
                    // It has lost its store, or is about to end.
                    if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                        switch.leave(&url);
                    }
                    Ok(answer.map(|body| UntilLeft::new(body, left)))
                }
                Ok(Err(error)) => {
                    switch.leave(&url);
                    Err(error.into())
                }
                Err(_) => {
                    switch.leave(&url);
                    Err(format!("{url} does not answer").into())
                }
            }
        }
        .boxed()
    }
}
