//! How a server reaches hosts that it cannot dial: each host dials the server and keeps that
//! connection, and the server opens streams to the host's agent on it.
//!
//! The roles of HTTP/2 are turned around on it: who dialled serves. Who the host is, the server's
//! TLS has found out before.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self as client, SendRequest};
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::link::{KEEP_ALIVE, KEEP_ALIVE_MAX, STREAM_WINDOW_BYTES};

/// The protocol of such a connection, in TLS's ALPN: it comes in at the port of the API.
pub const PROTOCOL: &[u8] = b"coracle-host";

/// What the server asks a host for.
const AGENT: &str = "agent:10250";
/// The first pause before a host dials a server again; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a connection to a server may take with its handshakes.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Streams of one host at once: each is a log that is followed, an exec or a forwarded port.
const STREAMS_MAX: u32 = 4096;
/// Flow-control window of all streams of a host together, in bytes.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

type Sender = SendRequest<Empty<Bytes>>;

/// The hosts that are connected to this server.
#[derive(Default)]
pub struct Reached {
    hosts: Mutex<HashMap<String, (u64, Sender)>>,
    next: AtomicU64,
}

impl Reached {
    /// Takes a host's connection, and keeps it until it ends. A newer connection of the same host
    /// takes the place of an older one.
    pub async fn attach<S>(&self, node: &str, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = client::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_MAX)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let (sender, connection) = match builder.handshake(TokioIo::new(stream)).await {
            Ok(made) => made,
            Err(error) => return tracing::debug!(node, %error, "a host's connection failed"),
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.hosts.lock().insert(node.to_owned(), (number, sender));
        tracing::info!(node, "a host is connected");
        let ended = connection.await;
        let mut hosts = self.hosts.lock();
        if hosts.get(node).is_some_and(|(newest, _)| *newest == number) {
            hosts.remove(node);
        }
        tracing::info!(
            node,
            error = ended.err().map(|e| e.to_string()),
            "a host's connection ended"
        );
    }

    /// Whether a host is connected.
    #[must_use]
    pub fn has(&self, node: &str) -> bool {
        self.hosts.lock().contains_key(node)
    }

    /// Opens a stream to the agent of a host.
    ///
    /// # Errors
    /// `NotConnected` when the host has no connection or it broke.
    pub async fn dial(&self, node: &str) -> io::Result<TokioIo<Upgraded>> {
        let failed = |why: String| io::Error::new(io::ErrorKind::NotConnected, why);
        let sender = self.hosts.lock().get(node).map(|(_, sender)| sender.clone());
        let Some(mut sender) = sender else {
            let why = format!(
                "the host of node '{node}' is not connected: is it running, and does it reach the server?"
            );
            return Err(failed(why));
        };
        let broke = |error: hyper::Error| failed(format!("the host of node '{node}': {error}"));
        let request = Request::builder().method(Method::CONNECT).uri(AGENT).body(Empty::new());
        let request = request.map_err(io::Error::other)?;
        sender.ready().await.map_err(broke)?;
        let answer = sender.send_request(request).await.map_err(broke)?;
        if !answer.status().is_success() {
            return Err(failed(format!("the agent of node '{node}' does not answer")));
        }
        Ok(TokioIo::new(hyper::upgrade::on(answer).await.map_err(broke)?))
    }
}

/// Whom a host lets reach it, and what they reach.
pub struct Reachable {
    /// Host name or address of the server, and its port.
    pub server: (String, u16),
    /// TLS that shows who the host is, with [`PROTOCOL`]; the newest is used for the next
    /// connection.
    pub keys: watch::Receiver<Arc<ClientConfig>>,
    /// The agent's socket.
    pub agent: PathBuf,
}

impl Reachable {
    /// Keeps a connection to the server for as long as it is polled.
    pub async fn keep(self) {
        let mut pause = PAUSE_FIRST;
        let agent = Arc::new(self.agent.clone());
        loop {
            let connected = tokio::time::timeout(CONNECT_MAX, self.connect()).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    pause = PAUSE_FIRST;
                    tracing::debug!(server = self.server.0, "connected to a server");
                    if let Err(error) = serve(stream, &agent).await {
                        tracing::debug!(%error, "the connection to a server broke");
                    }
                }
                Err(error) => {
                    tracing::debug!(server = self.server.0, %error, "no connection to a server");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect(&self) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let (host, port) = &self.server;
        let tcp = TcpStream::connect((host.as_str(), *port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        let keys = Arc::clone(&self.keys.borrow());
        let stream = TlsConnector::from(keys).connect(name, tcp).await?;
        if stream.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
            return Err(io::Error::other("the server is older than this host"));
        }
        Ok(stream)
    }
}

async fn serve<S>(stream: S, agent: &Arc<PathBuf>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = server::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let agent = Arc::clone(agent);
    let service = service_fn(move |request: Request<Incoming>| {
        let agent = Arc::clone(&agent);
        async move { Ok::<_, Infallible>(answer(&agent, request).await) }
    });
    builder.serve_connection(TokioIo::new(stream), service).await
}

/// Joins a stream of the server with the agent.
async fn answer(agent: &PathBuf, request: Request<Incoming>) -> Response<Empty<Bytes>> {
    let refuse = |status| {
        let mut answer = Response::new(Empty::new());
        *answer.status_mut() = status;
        answer
    };
    let target = request.uri().authority().map(Authority::as_str);
    if request.method() != Method::CONNECT || target != Some(AGENT) {
        return refuse(StatusCode::NOT_FOUND);
    }
    let mut socket = match UnixStream::connect(agent).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "the agent's socket does not answer");
            return refuse(StatusCode::BAD_GATEWAY);
        }
    };
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut stream = TokioIo::new(upgraded);
        // Whoever is at the other end learns of a break by the end.
        let _broken = tokio::io::copy_bidirectional(&mut stream, &mut socket).await;
    });
    Response::new(Empty::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn a_server_reaches_the_agent_of_a_host_that_dialled_it() {
        let path = std::env::temp_dir().join(format!("coracle-reach-{}", std::process::id()));
        let _left = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut text = String::new();
                    stream.read_to_string(&mut text).await.unwrap();
                    stream.write_all(format!("agent heard {text}").as_bytes()).await.unwrap();
                });
            }
        });
        let reached = Arc::new(Reached::default());
        let error = reached.dial("a").await.map(drop).unwrap_err();
        assert!(error.to_string().contains("node 'a' is not connected"), "{error}");
        let (near, far) = tokio::io::duplex(64 * 1024);
        let serving = tokio::spawn({
            let agent = Arc::new(path.clone());
            async move { serve(far, &agent).await }
        });
        let attached = tokio::spawn({
            let reached = Arc::clone(&reached);
            async move { reached.attach("a", near).await }
        });
        while !reached.has("a") {
            tokio::task::yield_now().await;
        }
        for word in ["one", "two"] {
            let mut stream = reached.dial("a").await.unwrap();
            stream.write_all(word.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, format!("agent heard {word}"));
        }
        serving.abort();
        attached.await.unwrap();
        assert!(!reached.has("a") && reached.dial("a").await.is_err());
        std::fs::remove_file(path).unwrap();
    }
}
