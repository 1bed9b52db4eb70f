//! Takes a client's connection apart into forwarded connections.
//!
//! An edge: forwarded connections are tasks of the connection, and end with it.

use futures::StreamExt as _;
use futures::future::Either;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::forward::{Target, forward, refuse};
use super::pairs::{Pair, Pairs};
use crate::runtime::Duplex;
use crate::server::select::pairs as query_pairs;
use crate::streams::handshake::{Speech, Spoken};
use crate::streams::spdy::{self, Opened};
use crate::streams::websocket::{self, Form};

/// SPDY inside of a WebSocket, as new clients send it.
const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";

/// What port-forward speaks.
pub(crate) const SPOKEN: Spoken = Spoken {
    websocket: &[TUNNELLED, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"],
    spdy: &["portforward.k8s.io"],
    raw: true,
};

/// Ports that one WebSocket may name: each takes two of its 256 channels, and nobody needs more.
const PORTS_MAX: usize = 32;

/// Connections forwarded at once over one connection of a client; one more is refused.
const FORWARDED_MAX: usize = 512;

/// Reads the ports that a query names, in order.
///
/// # Errors
/// A sentence, for what is no port, for none where one is needed, and for too many.
pub(crate) fn ports(query: &str) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    for (name, value) in query_pairs(query) {
        if name != "port" && name != "ports" {
            continue;
        }
        for text in value.split(',') {
            let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
            ports.push(port.ok_or_else(|| format!("invalid port {text:?}"))?);
        }
    }
    match ports.len() {
        0 => Err("query parameter \"port\" is required".to_owned()),
        1..=PORTS_MAX => Ok(ports),
        _ => Err(format!("at most {PORTS_MAX} ports may be forwarded over one WebSocket")),
    }
}

/// Serves a client. `ports` are those that the query names; SPDY clients name theirs later.
pub(crate) async fn serve<S>(connection: S, speech: Speech, ports: &[u16], target: &Target)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match speech {
        Speech::WebSocket(TUNNELLED) => {
            websocket::tunnel(connection, |bytes| spdy_session(bytes, target)).await;
        }
        Speech::WebSocket(protocol) => {
            let form = if protocol.contains("base64") { Form::Base64 } else { Form::Binary };
            numbered(connection, form, ports, target).await;
        }
        Speech::Spdy(_) => spdy_session(connection, target).await,
        // Dialled before the answer: `raw`.
        Speech::Raw => {}
    }
}

async fn spdy_session<S: AsyncRead + AsyncWrite>(connection: S, target: &Target) {
    spdy::serve(connection, |streams| forward_pairs(streams, target)).await;
}

async fn forward_pairs(mut streams: mpsc::Receiver<Opened>, target: &Target) {
    let mut pairs = Pairs::default();
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            opened = streams.recv() => {
                let Some(opened) = opened else { break };
                let Some(Pair { port, data, error }) = paired(&mut pairs, opened) else { continue };
                running.push(if running.len() < FORWARDED_MAX {
                    let streams = (data.input, data.output);
                    Either::Left(forward(target, port, streams, error.output))
                } else {
                    Either::Right(refuse(port, FORWARDED_MAX, data.output, error.output))
                });
            }
            Some(()) = running.next() => {}
        }
    }
    while running.next().await.is_some() {}
}

fn paired(pairs: &mut Pairs<Opened>, opened: Opened) -> Option<Pair<Opened>> {
    let headers = opened.headers.clone();
    let key = (headers.get("streamtype"), headers.get("port"), headers.get("requestid"));
    match pairs.add(key, opened) {
        Ok(pair) => pair,
        Err(error) => {
            tracing::debug!(%error, "a port-forward client opened a stream that makes no sense");
            None
        }
    }
}

/// Two channels for each port, bytes and errors; each begins with the port's number.
///
/// *Source:* the kubelet's `portforward/websocket.go`.
async fn numbered<S>(connection: S, form: Form, ports: &[u16], target: &Target)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    websocket::serve(connection, form, |wire| {
        let channels: Vec<_> = (0u8..)
            .step_by(2)
            .zip(ports)
            .map(|(data, port)| {
                let (input, output) = (wire.input(data), wire.output(data));
                (*port, input, output, wire.output(data + 1))
            })
            .collect();
        async move {
            for (port, _, data, error) in &channels {
                let number = bytes::Bytes::copy_from_slice(&port.to_le_bytes());
                if data.send(number.clone()).await.is_err() || error.send(number).await.is_err() {
                    return;
                }
            }
            let all = channels
                .into_iter()
                .map(|(port, input, output, error)| forward(target, port, (input, output), error));
            futures::future::join_all(all).await;
        }
    })
    .await;
}

/// Joins a connection with one to a pod, its bytes as they are.
pub(crate) async fn raw(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    mut stream: Box<dyn Duplex>,
) {
    // Either side may break off; the other learns it by the end of its stream.
    let _broken = tokio::io::copy_bidirectional(&mut connection, &mut stream).await;
}
