//! A WebSocket to the API server, with numbered channels in it.
//!
//! *Source:* RFC 6455 for the handshake; the channel number is the first byte of each message
//! (`v5.channel.k8s.io` for commands, `v4.channel.k8s.io` for ports).

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use rand::Rng as _;
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::session::Session;

/// A connection that is open.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Opens a WebSocket at a path, speaking one protocol.
pub(crate) async fn open(session: &Session, path: &str, protocol: &str) -> anyhow::Result<Socket> {
    let mut key = [0_u8; 16];
    rand::rng().fill(&mut key);
    let request = Request::get(path)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, STANDARD.encode(key))
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(Body::empty())?;
    let answer = session.client.send(request).await.context("reach the server")?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = answer.status();
        let body = answer.into_body().collect_bytes().await.unwrap_or_default();
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        match told["message"].as_str() {
            Some(message) => bail!("{message}"),
            None => bail!("the server answered {status}"),
        }
    }
    let spoken = answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    if spoken.is_none_or(|spoken| spoken.as_bytes() != protocol.as_bytes()) {
        bail!("the server does not speak {protocol}");
    }
    let upgraded = hyper::upgrade::on(answer).await.context("change to a WebSocket")?;
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await)
}

/// A message for a channel.
pub(crate) fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    Message::Binary(message.into())
}

/// Channel and content of a message; `None` for what holds none (pings and the like).
pub(crate) fn content(message: &Message) -> Option<(u8, &[u8])> {
    let bytes: &[u8] = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(text) => text.as_bytes(),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => return None,
    };
    bytes.split_first().map(|(channel, content)| (*channel, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_told_by_the_first_byte() {
        assert_eq!(content(&message(3, b"abc")), Some((3, &b"abc"[..])));
        assert_eq!(content(&message(1, b"")), Some((1, &b""[..])));
        assert_eq!(content(&Message::Binary(Vec::new().into())), None);
        assert_eq!(content(&Message::Ping(vec![1].into())), None);
    }
}
