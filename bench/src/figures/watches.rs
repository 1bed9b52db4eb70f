//! Watches of which nothing is told: what each costs the server, and all of them together.

use anyhow::Context as _;
use coracle_e2e::Cluster;
use futures::io::BufReader;
use futures::{AsyncRead, StreamExt as _, TryStreamExt as _, stream};

use super::ready;
use crate::process::Processes;

const CONNECTIONS: usize = 100;
const WATCHES_EACH: usize = 100;

/// Watches that are opened at a time on one connection.
const OPENED_AT_ONCE: usize = 16;

/// A kind of which nothing changes.
const WATCH: &str = "/api/v1/namespaces/default/configmaps?watch=1&allowWatchBookmarks=false";

/// An open watch of the client's side.
type Open = BufReader<Box<dyn AsyncRead + Send + Unpin>>;

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    let server = Processes::of(&cluster)?.server;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = ready::client(&cluster).await?;
        // So that the connection is counted among what was there before.
        client.apiserver_version().await.context("ask for the version")?;
        clients.push(client);
    }
    let before = server.resident_bytes()?;
    let mut all = Vec::new();
    for client in &clients {
        let open = stream::iter(0..WATCHES_EACH).map(|_| open(client));
        let opened: Vec<Open> = open.buffer_unordered(OPENED_AT_ONCE).try_collect().await?;
        all.extend(opened);
    }
    let after = server.resident_bytes()?;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(vec![format!(
        "{} idle watches on {CONNECTIONS} connections: server {:.1} MiB (promised 100), {:.1} before them, {:.1} KiB each",
        all.len(),
        mebibytes(after),
        mebibytes(before),
        after.saturating_sub(before) as f64 / 1024.0 / all.len() as f64,
    )])
}

/// Gives a watch whose answer has begun.
async fn open(client: &kube::Client) -> anyhow::Result<Open> {
    let request = http::Request::get(WATCH).body(Vec::new())?;
    let lines = client.request_stream(request).await.context("open a watch")?;
    Ok(BufReader::new(Box::new(Box::pin(lines))))
}
