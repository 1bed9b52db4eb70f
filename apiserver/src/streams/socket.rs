//! A watch over a WebSocket: each event is a text message, for programs in browsers, Headlamp among them.
//!
//! An edge: each such watch is a task, which ends with its client or with its watch. `agree` and `Lines` are pure.
//!
//! *Source:* RFC 6455 section 4.2; the watch handler of `k8s.io/apiserver` in behaviour: it takes whatever protocol is
//! offered first, and sends JSON as text.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use coracle_api::status::Status;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::forward::ForwardError;
use crate::body::{self, Body};
use crate::respond::Answer;

/// What a WebSocket key is hashed with. *Source:* RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a message from the client: there is nothing to say on a watch.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Bytes read from the client at a time; the default of 128 KiB is much for thousands of idle watches.
const READ_BYTES: usize = 1024;
/// How long a client may take to read what keeps a message from being written. One that has stopped reading would hold
/// its connection for good, since nothing looks at the watch's own end meanwhile; that comes at most this much later.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Gives a watch's answer over a WebSocket where the client asks for one, and as it is elsewhere. It holds one of the
/// places for `streams` until it ends.
///
/// # Errors
/// 400 for a malformed handshake, 406 for a watch that is not in JSON, 429 when too many streams are open.
pub(crate) fn over_websocket(
    headers: &HeaderMap,
    upgrade: Option<&OnUpgrade>,
    streams: &Arc<Semaphore>,
    answer: Answer,
) -> Result<Answer, Status> {
    let Some(upgrade) = upgrade.filter(|_| is_asked(headers)) else { return Ok(answer) };
    if !answer.status().is_success() {
        return Ok(answer);
    }
    if answer.headers().get(CONTENT_TYPE).is_none_or(|form| form != "application/json") {
        return Err(Status::not_acceptable("a watch over a WebSocket is in JSON only"));
    }
    let agreed = agree(headers).map_err(Status::bad_request)?;
    let slot = Arc::clone(streams).try_acquire_owned();
    let slot = slot.map_err(|_| Status::too_many_requests(ForwardError::TooMany.to_string(), 1))?;
    let (upgrade, events) = (upgrade.clone(), answer.into_body());
    tokio::spawn(async move {
        match timeout(WRITE_TIMEOUT, upgrade).await {
            Ok(Ok(client)) => send(TokioIo::new(client), events).await,
            Ok(Err(error)) => tracing::debug!(%error, "a watch ended before it began"),
            Err(late) => tracing::debug!(%late, "a watch ended before it began"),
        }
        drop(slot);
    });
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = agreed;
    Ok(answer)
}

/// Whether a request asks for a WebSocket.
fn is_asked(headers: &HeaderMap) -> bool {
    tokens(headers, UPGRADE.as_str()).any(|token| token.eq_ignore_ascii_case("websocket"))
}

/// The headers of the answer to a handshake.
fn agree(headers: &HeaderMap) -> Result<HeaderMap, &'static str> {
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err("`Sec-WebSocket-Version` must be 13");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or("`Sec-WebSocket-Key` is missing")?;
    let hashed = [key.as_bytes(), GUID.as_bytes()].concat();
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &hashed));
    let header = |text: &str| HeaderValue::from_str(text).map_err(|_| "a header is malformed");
    let mut agreed = HeaderMap::from_iter([
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, header(&accept)?),
    ]);
    // Browsers break off unless one of what they offer is taken.
    if let Some(first) = tokens(headers, SEC_WEBSOCKET_PROTOCOL.as_str()).next() {
        agreed.insert(SEC_WEBSOCKET_PROTOCOL, header(first)?);
    }
    Ok(agreed)
}

/// The words of a header that may be given several times, and each time hold a list.
fn tokens<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// Sends each line of the events, until either side ends or the client reads no more.
async fn send<S>(client: S, mut events: Body)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut client = WebSocketStream::from_raw_socket(client, Role::Server, Some(config)).await;
    let mut lines = Lines::default();
    loop {
        tokio::select! {
            frame = events.frame() => {
                let Some(Ok(frame)) = frame else { break };
                let Ok(data) = frame.into_data() else { continue };
                for line in lines.of(&data) {
                    let fed = timeout(WRITE_TIMEOUT, client.feed(Message::text(line))).await;
                    let Ok(Ok(())) = fed else { return };
                }
                let Ok(Ok(())) = timeout(WRITE_TIMEOUT, client.flush()).await else { return };
            }
            said = client.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
    let _gone = timeout(WRITE_TIMEOUT, client.close(None)).await;
}

/// Lines out of pieces that end anywhere.
#[derive(Default)]
struct Lines {
    rest: BytesMut,
}

impl Lines {
    /// The lines that are whole with this piece, without their ends.
    fn of(&mut self, piece: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(piece);
        let mut whole = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(end + 1);
            let text = line.get(..end).unwrap_or_default();
            whole.push(String::from_utf8_lossy(text).into_owned());
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
        let row = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        rows.iter().map(row).collect()
    }

    /// The key and its answer are those of RFC 6455 section 1.3.
    #[test]
    fn a_handshake_takes_the_first_protocol() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let version = ("sec-websocket-version", "13");
        let asked = headers(&[
            ("upgrade", "WebSocket"),
            key,
            version,
            ("sec-websocket-protocol", "base64.binary.k8s.io, v4.channel.k8s.io"),
        ]);
        assert!(is_asked(&asked) && !is_asked(&headers(&[key, version])));
        let agreed = agree(&asked).unwrap();
        assert_eq!(agreed["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(agreed["sec-websocket-protocol"], "base64.binary.k8s.io");
        assert!(!agree(&headers(&[key, version])).unwrap().contains_key("sec-websocket-protocol"));
        assert!(agree(&headers(&[key])).is_err() && agree(&headers(&[version])).is_err());
    }

    #[test]
    fn a_watch_without_a_place_is_refused() {
        let asked = headers(&[
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ]);
        let upgrade = hyper::upgrade::on(http::Request::new(()));
        let mut answer = Response::new(body::empty());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let full = Arc::new(Semaphore::new(0));
        let refused = over_websocket(&asked, Some(&upgrade), &full, answer).unwrap_err();
        assert_eq!(refused.code(), StatusCode::TOO_MANY_REQUESTS);
    }

    /// The clock goes on by itself once nothing else can.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_left() {
        let (client, _unread) = tokio::io::duplex(16);
        let endless = futures::stream::repeat_with(|| Ok("{\"type\":\"BOOKMARK\"}\n".into()));
        send(client, body::stream(endless)).await;
        let (client, _unread) = tokio::io::duplex(1);
        send(client, body::empty()).await;
    }

    #[test]
    fn lines_are_whole() {
        let mut lines = Lines::default();
        assert_eq!(lines.of(b"{\"a\":1}\n{\"b\""), ["{\"a\":1}"]);
        assert_eq!(lines.of(b":2}\n\n"), ["{\"b\":2}", ""]);
        assert!(lines.of(b"rest").is_empty());
    }
}
