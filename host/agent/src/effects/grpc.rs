//! gRPC health checks: one call of `grpc.health.v1.Health/Check`.
//!
//! *Source:* the gRPC health checking protocol; kubelet's gRPC prober for the words.

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::runtime::Duplex;

/// Most bytes of an answer; a health answer has seven.
const ANSWER_BYTES_MAX: usize = 4096;

/// `SERVING` of `HealthCheckResponse.ServingStatus`.
const SERVING: u8 = 1;

/// Asks for the health of `service`, empty for the whole server.
///
/// # Errors
/// A sentence: the call failed, or the answer is another one than `SERVING`.
pub(crate) async fn check(
    stream: Box<dyn Duplex>,
    authority: &str,
    service: &str,
) -> Result<(), String> {
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let answer = call(&mut sender, authority, service).await;
    driver.abort();
    answer
}

async fn call(
    sender: &mut hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    authority: &str,
    service: &str,
) -> Result<(), String> {
    let request = http::Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .header(http::header::USER_AGENT, "kube-probe/1.35")
        .body(Full::new(question(service)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?;
    let trailer = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
    let code = trailer.or_else(|| parts.headers.get("grpc-status"));
    let code = code.and_then(|code| code.to_str().ok()).unwrap_or("0");
    if code != "0" {
        return Err(format!("service unhealthy (rpc code {code})"));
    }
    match status(&body.to_bytes()) {
        SERVING => Ok(()),
        other => Err(format!("service unhealthy (responded with \"{}\")", name(other))),
    }
}

/// A length-prefixed `HealthCheckRequest { service }`.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, length-delimited; the API bounds the name well below 128 bytes.
        message.put_u8(0x0a);
        message.put_u8(u8::try_from(service.len()).unwrap_or(0));
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
    framed.put(message);
    framed.freeze()
}

/// The `status` field of a framed `HealthCheckResponse`; 0 when it is not there.
fn status(framed: &[u8]) -> u8 {
    match framed.get(5..) {
        Some([0x08, status, ..]) => *status,
        Some(_) | None => 0,
    }
}

fn name(status: u8) -> &'static str {
    match status {
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_framed() {
        assert_eq!(&question("")[..], b"\0\0\0\0\0");
        assert_eq!(&question("db")[..], b"\0\0\0\0\x04\x0a\x02db");
        assert_eq!(status(b"\0\0\0\0\x02\x08\x01"), SERVING);
        assert_eq!(status(b"\0\0\0\0\0"), 0);
    }
}
