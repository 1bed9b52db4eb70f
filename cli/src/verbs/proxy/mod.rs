//! `coracle proxy`: programs of this machine reach the cluster's network, by SOCKS5 or as an HTTP
//! proxy. Each connection is a port-forward to a pod, so it needs that right and no other.

mod ask;
mod find;
mod place;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::forward::carry;
use super::query::Query;
use super::session::Session;
use crate::config::ProxyFlags;
use crate::{out, signals};
use ask::{Asked, GRANTED, HEAD_BYTES_MAX, SOCKS};

/// Connections of this machine that are carried at once.
const CONNECTIONS_MAX: usize = 256;

/// Time for a program to say where it wants to go, and for the cluster to say where that is.
const ASK_MAX: Duration = Duration::from_secs(15);

/// Listens, and leads each connection where it asks to go, until it is interrupted.
pub(crate) async fn proxy(session: Session, flags: &ProxyFlags) -> anyhow::Result<()> {
    let listener = TcpListener::bind(flags.listen).await;
    let listener =
        listener.with_context(|| format!("listen on {}: take another --listen", flags.listen))?;
    let at = listener.local_addr()?;
    out::line(format_args!("SOCKS5 and HTTP proxy into the cluster at {at}"));
    out::line(format_args!("  export ALL_PROXY=socks5h://{at} HTTP_PROXY=http://{at}"));
    let accepting = tokio::spawn(accept(Arc::new(session), listener));
    let mut stop = signals::Stop::listen()?;
    stop.wait().await;
    accepting.abort();
    Ok(())
}

async fn accept(session: Arc<Session>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let Ok((stream, _)) = listener.accept().await else { return };
        let session = Arc::clone(&session);
        connections.spawn(async move {
            if let Err(error) = serve(&session, stream).await {
                out::note(&format!("{error:#}"));
            }
        });
    }
}

async fn serve(session: &Session, mut stream: TcpStream) -> anyhow::Result<()> {
    let asked = tokio::time::timeout(ASK_MAX, read(&mut stream)).await;
    let Some(asked) = asked.context("a program did not say where it wants to go")?? else {
        return Ok(());
    };
    let (host, port) = (asked.host().to_owned(), asked.port());
    let found = tokio::time::timeout(ASK_MAX, find::find(session, &host, port)).await;
    let found = found.map_err(|_| anyhow::anyhow!("the server took too long")).flatten();
    let found = match found.with_context(|| format!("find {host}:{port}")) {
        Ok(found) => found,
        Err(error) => {
            stream.write_all(&asked.refused(&format!("{error:#}"))).await?;
            return Err(error);
        }
    };
    stream.write_all(asked.granted()).await?;
    let path = format!("/api/v1/namespaces/{}/pods/{}/portforward", found.namespace, found.pod);
    let path = Query::default().with("ports", &found.port.to_string()).on(&path);
    let carried = carry(session, stream, &path, asked.first()).await;
    carried.with_context(|| format!("{host}:{port}"))
}

/// Reads where a program wants to go; `None` if it left without a word.
async fn read(stream: &mut TcpStream) -> anyhow::Result<Option<Asked>> {
    let mut first = [0];
    if stream.read(&mut first).await? == 0 {
        return Ok(None);
    }
    if first == [SOCKS] {
        return read_socks(stream).await.map(Some);
    }
    let mut head = first.to_vec();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            bail!("the head of a request is too long");
        }
        // Byte by byte: what follows the head is for the other side, and heads are short.
        stream.read_exact(&mut first).await.context("read the head of a request")?;
        head.extend_from_slice(&first);
    }
    match Asked::of_http(&head) {
        Ok(asked) => Ok(Some(asked)),
        Err(why) => {
            stream.write_all(format!("HTTP/1.1 400 Bad Request\r\n\r\n{why}\n").as_bytes()).await?;
            bail!("{why}")
        }
    }
}

/// *Source:* RFC 1928.
async fn read_socks(stream: &mut TcpStream) -> anyhow::Result<Asked> {
    let count = stream.read_u8().await?;
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await?;
    stream.write_all(&[SOCKS, GRANTED]).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = match head {
        [SOCKS, 1, _, 1] => 4,
        [SOCKS, 1, _, 4] => 16,
        [SOCKS, 1, _, 3] => usize::from(stream.read_u8().await?),
        _ => {
            // Command not supported.
            stream.write_all(&[SOCKS, 7, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
            bail!("only connections of SOCKS5 are carried, no datagrams");
        }
    };
    let mut address = vec![0; length];
    stream.read_exact(&mut address).await?;
    let port = stream.read_u16().await?;
    Asked::of_socks(&address, head == [SOCKS, 1, head[2], 3], port)
}
