//! A request and its answer over one connection to a backend, a waiting one or a new one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::body::{Body, Ending, boxed, empty};
use super::forward::is_repeatable;
use super::headers::strip_hop;
use super::pool::{Key, Sender1, Sender2};
use super::state::Front;

/// Bytes of the head of an answer.
pub(super) const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why there is no answer.
pub(super) enum Failed {
    /// The backend did not get the request, so another may.
    Unsent(Box<Request<Body>>, io::Error),
    /// It may have got it; a copy of one that is safe to repeat.
    Lost(hyper::Error, Option<Box<Request<Body>>>),
}

/// Sends a request and gives the answer's head, with its body to come.
pub(super) async fn exchange(
    front: &Arc<Front>,
    (backend, client): (SocketAddr, SocketAddr),
    by_http2: bool,
    mut request: Request<Body>,
) -> Result<Response<Body>, Failed> {
    let key = Key { backend, client: client.ip() };
    if by_http2 {
        return over_http2(front, key, client, request).await;
    }
    *request.version_mut() = Version::HTTP_11;
    let again = is_repeatable(&request).then(|| Box::new(copy_of(&request)));
    while let Some(mut sender) = front.pool.take(&key) {
        if sender.ready().await.is_err() {
            continue;
        }
        match over(&mut sender, request).await {
            Ok(response) => return Ok(keep(front, key, sender, response)),
            Err((Some(back), _)) => request = *back,
            // It ended as the request was on its way, as connections do that waited.
            Err((None, error)) => match &again {
                Some(again) => request = copy_of(again),
                None => return Err(Failed::Lost(error, None)),
            },
        }
    }
    let mut sender = match connect(front, backend, client).await {
        Ok(sender) => sender,
        Err(error) => return Err(Failed::Unsent(Box::new(request), error)),
    };
    match over(&mut sender, request).await {
        Ok(response) => Ok(keep(front, key, sender, response)),
        Err((Some(back), error)) => Err(Failed::Unsent(back, io::Error::other(error))),
        Err((None, error)) => Err(Failed::Lost(error, again)),
    }
}

fn copy_of(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

async fn over(
    sender: &mut Sender1,
    request: Request<Body>,
) -> Result<Response<Incoming>, (Option<Box<Request<Body>>>, hyper::Error)> {
    let sent = sender.try_send_request(request).await;
    sent.map_err(|mut error| (error.take_message().map(Box::new), error.into_error()))
}

/// A new connection of HTTP/1.
pub(super) async fn connect(
    front: &Arc<Front>,
    backend: SocketAddr,
    client: SocketAddr,
) -> io::Result<Sender1> {
    let wire = front.reach(backend, client).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER_HEAD_BYTES_MAX);
    let shaken = builder.handshake(TokioIo::new(wire)).await;
    let (sender, connection) = shaken.map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%backend, %error, "a connection to a backend ended");
        }
    });
    Ok(sender)
}

/// The answer, after whose end the connection takes the next request.
fn keep(
    front: &Arc<Front>,
    key: Key,
    sender: Sender1,
    response: Response<Incoming>,
) -> Response<Body> {
    let pool = Arc::clone(&front.pool);
    let mut response =
        response.map(|body| boxed(Ending::new(body, move || pool.give(key, sender))));
    strip_hop(response.headers_mut());
    response
}

async fn over_http2(
    front: &Arc<Front>,
    key: Key,
    client: SocketAddr,
    mut request: Request<Body>,
) -> Result<Response<Body>, Failed> {
    name_authority(&mut request);
    let again = is_repeatable(&request).then(|| Box::new(copy_of(&request)));
    if let Some(mut sender) = front.pool.share(&key)
        && sender.ready().await.is_ok()
    {
        match over2(&mut sender, request).await {
            Ok(response) => return Ok(response.map(boxed)),
            Err((Some(back), _)) => request = *back,
            Err((None, error)) => match &again {
                Some(again) => request = copy_of(again),
                None => return Err(Failed::Lost(error, None)),
            },
        }
    }
    let mut sender = match connect_http2(front, key.backend, client).await {
        Ok(sender) => sender,
        Err(error) => return Err(Failed::Unsent(Box::new(request), error)),
    };
    front.pool.put_shared(key, sender.clone());
    match over2(&mut sender, request).await {
        Ok(response) => Ok(response.map(boxed)),
        Err((Some(back), error)) => Err(Failed::Unsent(back, io::Error::other(error))),
        Err((None, error)) => Err(Failed::Lost(error, again)),
    }
}

async fn over2(
    sender: &mut Sender2,
    request: Request<Body>,
) -> Result<Response<Incoming>, (Option<Box<Request<Body>>>, hyper::Error)> {
    let sent = sender.try_send_request(request).await;
    sent.map_err(|mut error| (error.take_message().map(Box::new), error.into_error()))
}

/// HTTP/2 has the host in the target.
fn name_authority(request: &mut Request<Body>) {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(http::header::HOST);
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut uri = request.uri().clone().into_parts();
    uri.scheme = Some(Scheme::HTTP);
    // A request that comes by here again has it there already.
    let host = host.or(uri.authority);
    uri.authority = Some(host.unwrap_or_else(|| Authority::from_static("localhost")));
    if let Ok(uri) = Uri::from_parts(uri) {
        *request.uri_mut() = uri;
    }
}

async fn connect_http2(
    front: &Arc<Front>,
    backend: SocketAddr,
    client: SocketAddr,
) -> io::Result<Sender2> {
    let wire = front.reach(backend, client).await?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_header_list_size(ANSWER_HEAD_BYTES_MAX as u32);
    let shaken = builder.handshake(TokioIo::new(wire)).await;
    let (sender, connection) = shaken.map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%backend, %error, "a connection to a backend ended");
        }
    });
    Ok(sender)
}
