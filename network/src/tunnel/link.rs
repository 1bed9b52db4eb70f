//! The connection to one peer: made when it is needed, made again when it broke.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::head::{Head, REASON};
use super::keys::node_of;
use super::peers::Peer;

/// How long a connection to a peer may take with its handshakes; a pod that dials waits for it.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a peer may take to accept a stream.
const ACCEPT_MAX: Duration = Duration::from_secs(10);
/// After a failure the peer is not tried again for this long, so that a dead host costs each of many
/// pods that dial it a moment and not a timeout.
const REST: Duration = Duration::from_millis(250);
/// Time between two questions whether a peer is still there.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long the answer to that may take.
pub(super) const KEEP_ALIVE_MAX: Duration = Duration::from_secs(5);
/// Flow-control window of one stream, in bytes: what one connection of a pod may hold of a host's
/// memory, enough for 2 Gbit/s at 1 ms.
pub(super) const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Flow-control window of all streams of a link together, in bytes.
pub(super) const LINK_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Bytes of the largest frame: one TLS record, so that streams take turns.
pub(super) const FRAME_BYTES: u32 = 16 * 1024;
/// Where a peer says that it is there.
pub(super) const HEALTH: &str = "/healthz";
/// Streams on one link at once, and how many are opened before the peer has said how many it takes.
pub(super) const STREAMS_MAX: u32 = 20_000;

type Sender = SendRequest<Empty<Bytes>>;

/// The connection to one peer. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Link(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    open: Option<(SocketAddr, Sender)>,
    failed: Option<(Instant, String)>,
}

impl Link {
    /// Opens a stream to a pod of the peer.
    ///
    /// # Errors
    /// `HostUnreachable` when the peer cannot be reached or proved to be somebody else,
    /// `ConnectionRefused` when it or the pod refuses; the text says why.
    pub(super) async fn open(
        &self,
        peer: &Peer,
        keys: &Arc<ClientConfig>,
        head: &Head,
    ) -> io::Result<Upgraded> {
        let first = self.sender(peer, keys).await?;
        match ask(first, head).await {
            // The link broke before the peer saw the request, or while it did: a connection that
            // nobody has used yet may be asked for again.
            Err(Asked::Broken(_)) => {}
            Err(Asked::Refused(error)) => return Err(error),
            Ok(stream) => return Ok(stream),
        }
        let second = self.sender(peer, keys).await?;
        ask(second, head).await.map_err(|asked| match asked {
            Asked::Refused(error) => error,
            Asked::Broken(why) => {
                unreachable_host(format!("the connection to node '{}' broke: {why}", peer.node))
            }
        })
    }

    /// Asks the peer whether it is there. Any answer is one: a peer of an older version knows no such path.
    ///
    /// # Errors
    /// When it cannot be reached, or the link broke.
    pub(super) async fn ask(&self, peer: &Peer, keys: &Arc<ClientConfig>) -> io::Result<()> {
        let mut sender = self.sender(peer, keys).await?;
        let request = Request::get(format!("https://{}{HEALTH}", peer.node)).body(Empty::new());
        let request = request.map_err(io::Error::other)?;
        sender.ready().await.map_err(io::Error::other)?;
        sender.send_request(request).await.map(drop).map_err(io::Error::other)
    }

    /// The way to send requests to the peer: the open link, or a new one.
    async fn sender(&self, peer: &Peer, keys: &Arc<ClientConfig>) -> io::Result<Sender> {
        let Some(address) = peer.address else {
            let why = format!("node '{}' has not said where its tunnel is", peer.node);
            return Err(unreachable_host(why));
        };
        let mut state = self.0.lock().await;
        if let Some((at, sender)) = &state.open
            && *at == address
            && !sender.is_closed()
        {
            return Ok(sender.clone());
        }
        state.open = None;
        if let Some((at, why)) = &state.failed
            && at.elapsed() < REST
        {
            return Err(unreachable_host(why.clone()));
        }
        let connecting = connect(address, &peer.node, Arc::clone(keys));
        let made = match tokio::time::timeout(CONNECT_MAX, connecting).await {
            Ok(made) => made.map_err(|error| error.to_string()),
            Err(_elapsed) => Err("it does not answer".to_owned()),
        };
        match made {
            Ok(sender) => {
                tracing::info!(node = peer.node, %address, "linked to a host");
                state.failed = None;
                state.open = Some((address, sender.clone()));
                Ok(sender)
            }
            Err(why) => {
                let why = format!("node '{}' at {address} cannot be reached: {why}", peer.node);
                tracing::warn!(why, "no link to a host");
                state.failed = Some((now(), why.clone()));
                Err(unreachable_host(why))
            }
        }
    }
}

/// The other host does not let this source to its pod: nothing is wrong with the pod.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Forbidden(String);

impl Forbidden {
    /// Whether an error of a connection is this one.
    pub(crate) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

enum Asked {
    /// The link does not carry requests any more.
    Broken(String),
    /// The peer said no.
    Refused(io::Error),
}

async fn ask(mut sender: Sender, head: &Head) -> Result<Upgraded, Asked> {
    let request = head.request(Empty::new());
    let request = request.map_err(|error| Asked::Refused(io::Error::other(error)))?;
    let broken = |error: hyper::Error| Asked::Broken(error.to_string());
    sender.ready().await.map_err(broken)?;
    let answer = tokio::time::timeout(ACCEPT_MAX, sender.send_request(request)).await;
    let answer = match answer {
        Ok(answer) => answer.map_err(broken)?,
        Err(_elapsed) => {
            let why = "the other host did not answer in time";
            return Err(Asked::Refused(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
    };
    let status = answer.status();
    if status.is_success() {
        return hyper::upgrade::on(answer).await.map_err(broken);
    }
    let reason = answer.headers().get(REASON).and_then(|reason| reason.to_str().ok());
    let reason = reason.map_or_else(|| status.to_string(), str::to_owned);
    Err(Asked::Refused(match status {
        StatusCode::NOT_FOUND => io::Error::new(io::ErrorKind::HostUnreachable, reason),
        StatusCode::FORBIDDEN => {
            io::Error::new(io::ErrorKind::ConnectionRefused, Forbidden(reason))
        }
        _other => io::Error::new(io::ErrorKind::ConnectionRefused, reason),
    }))
}

/// Connects and proves both sides. The link lives in a task of its own until it breaks.
async fn connect(address: SocketAddr, node: &str, keys: Arc<ClientConfig>) -> io::Result<Sender> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(node.to_owned()).map_err(io::Error::other)?;
    let tls = TlsConnector::from(keys).connect(name, tcp).await?;
    let shown = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let found = shown.and_then(|certificate| node_of(certificate));
    if found.as_deref() != Some(node) {
        let found = found.unwrap_or_else(|| "no node".to_owned());
        return Err(io::Error::other(format!("its certificate is for {found}")));
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_MAX)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(LINK_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .initial_max_send_streams(STREAMS_MAX as usize)
        .max_send_buf_size(STREAM_WINDOW_BYTES as usize);
    let (sender, connection) =
        builder.handshake(TokioIo::new(tls)).await.map_err(io::Error::other)?;
    let node = node.to_owned();
    tokio::spawn(async move {
        match connection.await {
            Ok(()) => tracing::info!(node, "the link to a host ended"),
            Err(error) => tracing::warn!(node, %error, "the link to a host broke"),
        }
    });
    Ok(sender)
}

fn unreachable_host(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::HostUnreachable, why)
}

#[expect(clippy::disallowed_methods, reason = "how long ago a peer failed")]
fn now() -> Instant {
    Instant::now()
}
