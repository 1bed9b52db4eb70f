//! Watches of which nothing is told: what each costs the server, and all of them together.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use coracle_e2e::Cluster;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::Processes;

const CONNECTIONS: usize = 100;
const WATCHES_EACH: usize = 100;

/// Watches that are opened at a time on one connection.
const OPENED_AT_ONCE: usize = 16;

/// A kind of which nothing changes.
const WATCH: &str = "api/v1/namespaces/default/configmaps?watch=1";

/// A connection by HTTP/2.
type Sender = SendRequest<Empty<Bytes>>;

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    let server = Processes::of(&cluster)?.server;
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let (mut connections, mut open) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        connections.push(connect(&config).await?);
    }
    let before = server.resident_bytes()?;
    let uri = format!("{}{WATCH}", config.cluster_url);
    for connection in &connections {
        let watches = stream::iter(0..WATCHES_EACH).map(|_| watch(connection.clone(), &uri));
        let watches: Vec<_> = watches.buffer_unordered(OPENED_AT_ONCE).try_collect().await?;
        open.extend(watches);
    }
    let after = server.resident_bytes()?;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(vec![format!(
        "{} idle watches on {CONNECTIONS} connections: server {:.1} MiB (promised 100), {:.1} before them, {:.1} KiB each",
        open.len(),
        mebibytes(after),
        mebibytes(before),
        after.saturating_sub(before) as f64 / 1024.0 / open.len() as f64,
    )])
}

async fn connect(config: &kube::Config) -> anyhow::Result<Sender> {
    let host = config.cluster_url.host().context("a server without a name")?.to_owned();
    let port = config.cluster_url.port_u16().context("a server without a port")?;
    let mut tls = config.rustls_client_config().context("read the certificates")?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect((host.as_str(), port)).await.context("connect")?;
    let name = ServerName::try_from(host).context("read the server's name")?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.context("handshake")?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Gives a watch whose answer has begun.
async fn watch(mut connection: Sender, uri: &str) -> anyhow::Result<Response<Incoming>> {
    let request = Request::get(uri).body(Empty::new())?;
    let answer = connection.send_request(request).await.context("open a watch")?;
    anyhow::ensure!(answer.status() == 200, "the answer is {}", answer.status());
    Ok(answer)
}
