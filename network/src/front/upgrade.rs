//! Requests that go on with another protocol, as WebSockets do: bytes both ways until one side ends.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::{Body, answer, boxed, empty};
use super::exchange::connect;
use super::forward::From;
use super::headers::{ask_upgrade, strip_hop};
use super::pool::Sender1;
use super::routes::Backend;
use super::state::Front;

/// Backends that are tried for one connection.
const BACKENDS_TRIED_MAX: usize = 8;

/// Sends a request that asks for another protocol, and joins both sides if the backend agrees.
pub(super) async fn through(
    front: &Arc<Front>,
    from: From,
    backend: &Backend,
    (mut head, body, protocol): (Parts, Incoming, HeaderValue),
) -> Response<Body> {
    let client = head.extensions.remove::<OnUpgrade>();
    let mut sender = match open(front, from.client, backend).await {
        Ok(sender) => sender,
        Err(refusal) => return *refusal,
    };
    ask_upgrade(&mut head.headers, protocol);
    let sent = sender.send_request(Request::from_parts(head, boxed(body))).await;
    let mut response = match sent {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%error, service = %backend.service, "a backend gave no answer");
            return answer(StatusCode::BAD_GATEWAY, "the backend gave no answer");
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // The connection lives as long as the answer's body does.
        let mut response = response.map(boxed);
        strip_hop(response.headers_mut());
        return response;
    }
    let Some(client) = client else {
        return answer(StatusCode::BAD_REQUEST, "this connection cannot change its protocol");
    };
    let far = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        match tokio::try_join!(client, far) {
            Ok((near, far)) => {
                let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
                let copied = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                if let Err(error) = copied {
                    tracing::debug!(%error, "a connection with another protocol was cut");
                }
            }
            Err(error) => tracing::debug!(%error, "a change of protocol came to nothing"),
        }
    });
    response.map(|_| empty())
}

async fn open(
    front: &Arc<Front>,
    client: SocketAddr,
    backend: &Backend,
) -> Result<Sender1, Box<Response<Body>>> {
    let mut refused = Vec::new();
    while refused.len() < BACKENDS_TRIED_MAX {
        let Some(address) = front.pick(backend, client.ip(), &refused).await else { break };
        if front.may_enter(client, address).is_err() {
            let why = "a network policy is in the way";
            return Err(Box::new(answer(StatusCode::FORBIDDEN, why)));
        }
        match connect(front, address, client).await {
            Ok(sender) => return Ok(sender),
            Err(error) => {
                tracing::debug!(%address, %error, "a backend did not take a connection");
                refused.push(address);
            }
        }
    }
    Err(Box::new(answer(StatusCode::SERVICE_UNAVAILABLE, "no backend is ready")))
}
