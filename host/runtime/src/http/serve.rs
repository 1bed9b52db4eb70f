//! Connections: HTTP/1.1 and HTTP/2 over any byte stream.
//!
//! An edge: each connection is a task, which ends with its client or with the container.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coracle_telemetry::Ends;
use coracle_vnet::{Accept, CONNECTIONS_MAX, VStream};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::HttpContainer;
use super::counting::Counting;

/// Bytes of a request's head.
///
/// *Source:* twice what nginx takes by default.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long a connection may take for the head of a request, and be idle before it: a client that
/// only connects must not hold a container's connections for good.
///
/// *Source:* nginx's `keepalive_timeout`.
const IDLE_TIME_MAX: Duration = Duration::from_secs(75);

/// How long a container that stops waits for the first request of a connection that it had taken: the
/// client is about to send it, and would see a reset. Shorter than what the stop waits for connections.
const FIRST_REQUEST_TIME_MAX: Duration = Duration::from_millis(400);

/// Where connections to a container come in.
pub(crate) struct Door(pub(super) Arc<HttpContainer>);

impl Accept for Door {
    fn accept(&self, stream: VStream) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            tracing::warn!("connection refused: not on a tokio runtime");
            return;
        };
        let ends = Ends { peer: stream.peer_addr(), local: stream.local_addr() };
        let gone = stream.gone();
        runtime.spawn(serve(self.0.clone(), stream, gone, Some(ends)));
    }

    fn accept_real(&self, stream: TcpStream) -> Result<(), TcpStream> {
        if self.0.core.scope.is_draining() {
            // Refused as any other, so that it is led to another backend.
            return Err(stream);
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(stream);
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "set TCP_NODELAY on a connection");
        }
        let ends = match (stream.peer_addr(), stream.local_addr()) {
            (Ok(peer), Ok(local)) => Some(Ends { peer, local }),
            (Err(_), _) | (_, Err(_)) => None,
        };
        // One too many is closed, as a full backlog would.
        if let Some(counted) = Counted::new(&self.0) {
            let traffic = self.0.core.netns.traffic().clone();
            let stream = Counting { inner: stream, traffic };
            // A client that is gone looks as one that ended its side, until it is written to.
            let gone = std::future::pending();
            runtime.spawn(async move { serve(counted.0.clone(), stream, gone, ends).await });
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Door {
    /// The container behind it.
    pub(crate) fn container(&self) -> &Arc<HttpContainer> {
        &self.0
    }
}

/// One real connection, counted until it is dropped.
struct Counted(Arc<HttpContainer>);

impl Counted {
    fn new(http: &Arc<HttpContainer>) -> Option<Self> {
        let counted = Self(http.clone());
        let before = http.real_connections.fetch_add(1, Ordering::AcqRel);
        (before < CONNECTIONS_MAX).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.real_connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one connection to its end, or until its client is `gone`.
async fn serve<I>(
    http: Arc<HttpContainer>,
    stream: I,
    gone: impl Future<Output = ()> + Send,
    ends: Option<Ends>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let container = http.clone();
    let has_asked = Arc::new(AtomicBool::new(false));
    let asked = has_asked.clone();
    let first_request = Arc::new(Notify::new());
    let asks = first_request.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let container = container.clone();
        asked.store(true, Ordering::Relaxed);
        asks.notify_one();
        let spec = &container.core.spec;
        if (spec.tracer.is_some() || spec.requests.is_some())
            && let Some(ends) = ends
        {
            request.extensions_mut().insert(ends);
        }
        async move { Ok::<_, Infallible>(container.call(request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIME_MAX);
    builder.http1().max_buf_size(HEAD_BYTES_MAX);
    // A client that has said all still listens. To hyper one that is gone looks alike, and its guest
    // would work on until its time is up: `gone` tells them apart where that can be known.
    builder.http1().half_close(true);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // Until the version of HTTP is known, hyper has no clock of its own.
    let silence = tokio::time::sleep(IDLE_TIME_MAX);
    // Ends at the first request, and soon after the stop begins.
    let settled = async {
        http.stopping.cancelled().await;
        let _ = tokio::time::timeout(FIRST_REQUEST_TIME_MAX, first_request.notified()).await;
    };
    tokio::pin!(connection, silence, settled, gone);
    let (mut is_closing, mut is_early) = (false, true);
    loop {
        tokio::select! {
            biased;
            () = http.killed.cancelled() => return,
            () = silence.as_mut(), if is_early => {
                is_early = false;
                if !has_asked.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = settled.as_mut(), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(container = %http.core.spec.name, %error, "connection ended");
                }
                return;
            }
            () = gone.as_mut() => return,
        }
    }
}
