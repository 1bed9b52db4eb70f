//! A container's log, as an answer or over a WebSocket.
//!
//! An edge: a WebSocket is a task of its own, which ends with its client.
//!
//! *Source:* `k8s.io/apiserver` reads `binary.k8s.io` and `base64.binary.k8s.io`; without a protocol
//! messages are binary.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::handshake::{Agreed, Speech, Spoken, agree};
use super::routes::upgrade;
use super::websocket;
use crate::server::routes::{Body, pieces, text};

const BASE64: &str = "base64.binary.k8s.io";

const SPOKEN: Spoken = Spoken { websocket: &["", "binary.k8s.io", BASE64], spdy: &[], raw: false };

/// Answers with a log, or sends it over a WebSocket when that is what the client asks for.
pub(crate) fn answer(
    request: &mut Request<Incoming>,
    log: mpsc::Receiver<Bytes>,
) -> Response<Body> {
    if !request.headers().contains_key(UPGRADE) {
        return pieces(log);
    }
    match agree(request.headers(), SPOKEN) {
        Ok(Agreed { speech, headers }) => {
            let is_base64 = speech == Speech::WebSocket(BASE64);
            upgrade(request, headers, move |connection| send(connection, log, is_base64))
        }
        Err((code, why)) => text(code, &why),
    }
}

async fn send<S>(connection: S, mut log: mpsc::Receiver<Bytes>, is_base64: bool)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    websocket::send(connection, |messages| async move {
        while let Some(piece) = log.recv().await {
            let message = if is_base64 {
                Message::Text(STANDARD.encode(&piece).into())
            } else {
                Message::Binary(piece)
            };
            if messages.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
}
