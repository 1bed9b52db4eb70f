//! The server on a socket: TLS, HTTP/1.1 and HTTP/2, and an orderly end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Peer;
use crate::authn::{UserInfo, user_of_certificate};
use crate::batch::Batched;
use crate::body::{self, Body};
use crate::gate::Caller;
use crate::node_dialer::HOST_PROTOCOL;
use crate::respond::Answer;
use crate::server::{ApiServer, Core};

/// Connections at once. Each costs some ten KiB; clients keep one or two open.
const CONNECTIONS_MAX: usize = 10_000;
/// Time for a TLS handshake, so that silent connections do not pile up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the head of an HTTP/1.1 request. *Source:* kube-apiserver's `ReadHeaderTimeout`.
const HEADER_TIMEOUT: Duration = Duration::from_secs(32);
/// HTTP/2 streams of one connection at once. *Source:* kube-apiserver's `http2-max-streams-per-connection`.
const HTTP2_STREAMS_MAX: u32 = 1000;
/// HTTP/2 flow-control windows in bytes, of a stream and of a connection: bodies are at most 3 MiB.
const HTTP2_WINDOWS_BYTES: (u32, u32) = (256 * 1024, 1024 * 1024);
/// Encrypted bytes that wait for the socket; a batch of writes goes out by one call.
const TLS_BUFFER_BYTES: usize = 256 * 1024;
/// Wait after an accept that failed, which happens when file descriptors run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Time that requests in flight have at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

impl ApiServer {
    /// Serves on a listener until [`ApiServer::shut_down`]; then finishes the requests in flight.
    ///
    /// `tls` must offer ALPN `h2` and `http/1.1` and ask for client certificates without demanding them.
    pub async fn serve(&self, listener: TcpListener, tls: Arc<ServerConfig>) {
        let core = self.core.clone();
        let acceptor = TlsAcceptor::from(tls);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let tracker = TaskTracker::new();
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { break };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = core.shutdown.cancelled() => break,
            };
            match accepted {
                Ok((stream, from)) => {
                    let peer = Peer(from.ip());
                    let connection = connection(core.clone(), acceptor.clone(), stream, peer);
                    tracker.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
        tracker.close();
        let _elapsed = tokio::time::timeout(DRAIN_TIMEOUT, tracker.wait()).await;
    }
}

async fn connection(core: Arc<Core>, acceptor: TlsAcceptor, stream: TcpStream, peer: Peer) {
    // Answers are small and complete; waiting for more of them only adds delay.
    let _best_effort = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let certificate: Option<CertificateDer<'static>> = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|c| c.clone().into_owned());
    let user = certificate.and_then(|certificate| user(&certificate));
    if stream.get_ref().1.alpn_protocol() == Some(HOST_PROTOCOL) {
        return attach(&core, user, stream).await;
    }
    let caller = Caller::Connection(user);
    let shutdown = core.shutdown.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (core, caller) = (core.clone(), caller.clone());
        if core.audit.is_some() {
            request.extensions_mut().insert(peer);
        }
        // In a box: HTTP/2 keeps a stream's future in one piece with its body, and that of a watch lasts for long after
        // the work, which may await anything that a request can.
        Box::pin(async move {
            Ok::<_, Infallible>(traced(core, request.map(body::boxed), caller).await)
        })
    });
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let mut stream = stream;
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        drive(TokioIo::new(Batched::new(stream)), service, shutdown).await;
    } else {
        drive(TokioIo::new(stream), service, shutdown).await;
    }
}

/// Answers a request within a span, if spans are made; it ends with the head of the answer.
async fn traced(core: Arc<Core>, mut request: Request<Body>, caller: Caller) -> Answer {
    let Some(tracer) = core.tracer.clone() else { return core.handle(request, caller).await };
    let mut span = tracer.serve(&mut request, None);
    let answer = core.handle(request, caller).await;
    span.answered(answer.status());
    if let Some(id) = answer.headers().get("audit-id").and_then(|id| id.to_str().ok()) {
        span.note("audit-id", id.to_owned());
    }
    answer
}

/// Keeps a host's connection until it ends, or until the server does.
async fn attach(core: &Core, user: Option<Arc<UserInfo>>, stream: TlsStream<TcpStream>) {
    let Some(node) = user.as_ref().and_then(|user| user.node()) else {
        return tracing::warn!("a connection of a host without a node's certificate was refused");
    };
    tokio::select! {
        () = core.nodes.attach(node, Box::new(stream)) => {}
        () = core.shutdown.cancelled() => {}
    }
}

/// Serves a connection until it ends, or until the server does.
async fn drive<I, S>(io: I, service: S, shutdown: CancellationToken)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S: hyper::service::Service<Request<Incoming>, Response = Answer, Error = Infallible>,
    S: Send + 'static,
    S::Future: Send + 'static,
{
    let builder = builder();
    let connection = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error, "connection ended with an error");
    }
}

/// The user of a client certificate; nobody when it cannot be read, which TLS let through all the same.
fn user(certificate: &CertificateDer<'_>) -> Option<Arc<UserInfo>> {
    match user_of_certificate(certificate) {
        Ok(user) => Some(Arc::new(user)),
        Err(error) => {
            tracing::debug!(%error, "client certificate names no user");
            None
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let (stream, connection) = HTTP2_WINDOWS_BYTES;
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .initial_stream_window_size(stream)
        .initial_connection_window_size(connection);
    builder
}
