//! Connections of clients: TLS where it is spoken, then HTTP/1 or HTTP/2, request by request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::certificates::AtPort;
use super::forward::{self, From};
use super::greeting::Greeted;
use super::routes::{Rule, Target};
use super::state::Front;

/// Time for a TLS handshake, so that silent connections do not pile up.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Time for a request's head to arrive, and for which a connection may wait for the next request.
const HEAD_MAX: Duration = Duration::from_secs(60);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 250;
/// Backends that are tried for one connection.
const BACKENDS_TRIED_MAX: usize = 8;
/// Wait after an accept that failed, which happens when file descriptors run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A port at which clients knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Door {
    /// The port by which clients and objects know it.
    pub(super) port: u16,
    /// Whether TLS is spoken.
    pub(super) secure: bool,
}

/// Accepts for as long as it is polled; the connections end with it.
pub(super) async fn accept(listener: TcpListener, door: Door, front: Arc<Front>) {
    let tls = tls(door, &front);
    let mut serving = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&front.slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = serving.join_next() => continue,
        };
        match accepted {
            Ok((stream, client)) => {
                let client = SocketAddr::new(client.ip().to_canonical(), client.port());
                let (front, tls) = (Arc::clone(&front), tls.clone());
                serving.spawn(async move {
                    if let Err(error) = connection(stream, client, door, tls, front).await {
                        tracing::debug!(%client, port = door.port, error, "a connection ended");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(port = door.port, %error, "accept on the way in");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn tls(door: Door, front: &Arc<Front>) -> Option<TlsAcceptor> {
    if !door.secure {
        return None;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = match versions {
        Ok(builder) => builder,
        Err(error) => {
            tracing::error!(%error, "prepare TLS of the way in");
            return None;
        }
    };
    let resolver = AtPort { front: Arc::downgrade(front), port: door.port };
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Some(TlsAcceptor::from(Arc::new(config)))
}

async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    door: Door,
    tls: Option<TlsAcceptor>,
    front: Arc<Front>,
) -> Result<(), String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let from = From { client, port: door.port, secure: door.secure };
    match tls {
        None if door.secure => Err("TLS could not be prepared".to_owned()),
        None => http(stream, from, front).await,
        Some(tls) if front.routes().passes_through(door.port) => {
            let greeted = tokio::time::timeout(HANDSHAKE_MAX, Greeted::read(stream)).await;
            let greeted = greeted.map_err(|_| "no TLS greeting came")?;
            let greeted = greeted.map_err(|error| error.to_string())?;
            let routes = front.routes();
            if let Some(rule) = routes.passed_through(door.port, &greeted.name) {
                return pass(greeted, client, rule, &front).await;
            }
            let shaken = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(greeted)).await;
            let stream = shaken.map_err(|_| "the TLS handshake took too long")?;
            http(stream.map_err(|error| error.to_string())?, from, front).await
        }
        Some(tls) => {
            let shaken = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await;
            let stream = shaken.map_err(|_| "the TLS handshake took too long")?;
            http(stream.map_err(|error| error.to_string())?, from, front).await
        }
    }
}

/// Joins a TLS connection with the first backend of its rule that takes it.
async fn pass(
    mut stream: Greeted,
    client: SocketAddr,
    rule: &Rule,
    front: &Front,
) -> Result<(), String> {
    if !rule.admits(client.ip()) {
        return Err("this client may not".to_owned());
    }
    let Some(Target::Service(backend)) = rule.target(rand::random()) else {
        return Err("the rule has no backend".to_owned());
    };
    let mut refused = Vec::new();
    while refused.len() < BACKENDS_TRIED_MAX {
        let Some(address) = front.pick(backend, client.ip(), &refused).await else { break };
        front.may_enter(client, address)?;
        match front.reach(address, client).await {
            Ok(mut far) => {
                let copied = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
                return copied.map(drop).map_err(|error| error.to_string());
            }
            Err(_) => refused.push(address),
        }
    }
    Err("no backend is ready".to_owned())
}

async fn http<S>(stream: S, from: From, front: Arc<Front>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(forward::serve(&front, from, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    served.map_err(|error| error.to_string())
}
