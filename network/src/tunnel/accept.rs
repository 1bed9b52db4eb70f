//! The way in: connections of other hosts, each stream of which ends in a pod.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_vnet::{DatagramSink, Fabric, NsTag, Protocol, VStream};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::RwLock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::admit::admit;
use super::datagrams::{Flows, Outgoing, exchange};
use super::head::{CAPSULES, Head, HeadError, REASON, header_text};
use super::keys::{Keys, node_of};
use super::link::{
    FRAME_BYTES, HEALTH, KEEP_ALIVE, KEEP_ALIVE_MAX, LINK_WINDOW_BYTES, STREAM_WINDOW_BYTES,
    STREAMS_MAX,
};
use super::peers::Peers;
use super::splice::splice;
use crate::network::Network;
use crate::policy::guard::Arrival;
use crate::switch::Ranges;

/// Connections at once, proven or not: more hosts than a cluster has.
const CONNECTIONS_MAX: usize = 4096;
/// Time for a TLS handshake, so that silent connections do not pile up.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Wait after an accept that failed, which happens when file descriptors run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Bytes of the head of a stream.
const HEAD_BYTES_MAX: u32 = 8 * 1024;

/// What every connection looks at.
pub(super) struct Inward {
    pub(super) fabric: Arc<Fabric>,
    pub(super) network: Arc<Network>,
    pub(super) peers: Arc<RwLock<Peers>>,
    pub(super) ranges: Ranges,
    pub(super) keys: watch::Receiver<Option<Keys>>,
    /// The flows of datagrams that are open.
    pub(super) flows: Arc<Flows>,
}

/// Accepts for as long as it is polled; the connections end with it.
pub(super) async fn accept(listener: TcpListener, inward: Arc<Inward>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut serving = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = serving.join_next() => continue,
        };
        match accepted {
            Ok((stream, address)) => {
                let inward = Arc::clone(&inward);
                serving.spawn(async move {
                    if let Err(error) = serve(stream, inward).await {
                        tracing::debug!(%address, error, "a connection to the tunnel ended");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the tunnel");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, inward: Arc<Inward>) -> Result<(), String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let keys = inward.keys.borrow().clone().ok_or("this host has no certificate yet")?;
    let handshake = TlsAcceptor::from(keys.server).accept(stream);
    let stream = tokio::time::timeout(HANDSHAKE_MAX, handshake).await;
    let stream = stream.map_err(|_| "the handshake took too long")?;
    let stream = stream.map_err(|error| format!("TLS handshake: {error}"))?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = shown.and_then(|certificate| node_of(certificate));
    let peer: Arc<str> = peer.ok_or("its certificate is for no node")?.into();
    tracing::debug!(%peer, "a host has linked to this one");
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(LINK_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .enable_connect_protocol()
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_send_buf_size(STREAM_WINDOW_BYTES as usize);
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&inward, &peer, request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = builder.serve_connection(TokioIo::new(stream), service).await;
    served.map_err(|error| error.to_string())
}

/// Takes one stream, or says why not.
fn answer(inward: &Inward, peer: &str, request: Request<Incoming>) -> Response<Empty<Bytes>> {
    let (parts, body) = request.into_parts();
    if parts.method == Method::GET && parts.uri.path() == HEALTH {
        return Response::new(Empty::new());
    }
    let head = match Head::read(&parts) {
        Ok(head) => head,
        Err(error @ HeadError::Method) => {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, &error.to_string());
        }
        Err(error @ (HeadError::Destination | HeadError::Source)) => {
            return refuse(StatusCode::BAD_REQUEST, &error.to_string());
        }
    };
    if let Err(error) = admit(&head, peer, &inward.peers.read(), &inward.ranges) {
        tracing::warn!(peer, %error, "a stream of another host was refused");
        return refuse(StatusCode::FORBIDDEN, &error.to_string());
    }
    let arrival = Arrival {
        source: head.source.ip(),
        from: head.from.as_ref().map(NsTag::id),
        peer: Some(peer),
        destination: head.destination,
        protocol: head.protocol,
    };
    if let Err(why) = inward.network.admit(&arrival) {
        return refuse(StatusCode::FORBIDDEN, &why);
    }
    if head.protocol == Protocol::Udp {
        return answer_datagrams(inward, head, Request::from_parts(parts, body));
    }
    let stream = match inward.fabric.deliver(head.destination, head.source) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::HostUnreachable => {
            return refuse(StatusCode::NOT_FOUND, &error.to_string());
        }
        Err(error) => return refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
    };
    tokio::spawn(join(Request::from_parts(parts, body), stream));
    Response::new(Empty::new())
}

/// Takes the datagrams of one flow.
fn answer_datagrams(
    inward: &Inward,
    head: Head,
    request: Request<Incoming>,
) -> Response<Empty<Bytes>> {
    let Some(counted) = inward.flows.count(head.source.ip()) else {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "the source has too many flows");
    };
    if inward.fabric.get(head.destination.ip()).is_none() {
        let why = format!("no pod here has the address {}", head.destination.ip());
        return refuse(StatusCode::NOT_FOUND, &why);
    }
    let fabric = Arc::clone(&inward.fabric);
    tokio::spawn(async move {
        let upgraded = match hyper::upgrade::on(request).await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "a flow ended before it began"),
        };
        let (back, outgoing) = Outgoing::new();
        let back: Arc<dyn DatagramSink> = Arc::new(back);
        let deliver = |data| {
            let back = Some(Arc::clone(&back));
            fabric.deliver_datagram(head.destination, head.source, data, back).is_ok()
        };
        exchange(TokioIo::new(upgraded), outgoing, deliver).await;
        drop(counted);
    });
    let mut answer = Response::new(Empty::new());
    answer.headers_mut().insert(CAPSULES, HeaderValue::from_static("?1"));
    answer
}

async fn join(request: Request<Incoming>, stream: VStream) {
    match hyper::upgrade::on(request).await {
        Ok(upgraded) => splice(upgraded, stream).await,
        Err(error) => {
            tracing::debug!(%error, "a stream ended before it began");
            stream.reset();
        }
    }
}

fn refuse(status: StatusCode, reason: &str) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = status;
    answer.headers_mut().insert(REASON, header_text(reason));
    answer
}
