//! Turns values, bytes and failures into HTTP responses: encoding, gzip, the headers every answer has.

use std::io::Write;

use bytes::Bytes;
use coracle_api::proto;
use coracle_api::status::Status;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY, WARNING,
};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::body::{self, Body};
use crate::negotiate::{Encoding, Negotiated};

/// Bodies from this size on are compressed for clients that take gzip. *Source:* kube-apiserver's threshold: below
/// it, compression costs more than the bytes.
pub const GZIP_BYTES_MIN: usize = 128 * 1024;

/// A response ready to be sent.
pub type Answer = Response<Body>;

/// Answers with a value in the negotiated encoding.
pub fn value(code: StatusCode, value: &Value, negotiated: Negotiated) -> Answer {
    if negotiated.encoding == Encoding::Protobuf {
        if let Some(bytes) = proto::encode_named(value) {
            return self::bytes(code, bytes.into(), negotiated);
        }
        let negotiated = Negotiated { encoding: Encoding::Json, ..negotiated };
        return self::value(code, value, negotiated);
    }
    match encode(value, negotiated.encoding) {
        Ok(bytes) => self::bytes(code, bytes, negotiated),
        Err(status) => plain_status(&status),
    }
}

/// Answers with JSON bytes that are ready; other encodings decode them first.
pub fn json(code: StatusCode, json: Bytes, negotiated: Negotiated) -> Answer {
    match negotiated.encoding {
        Encoding::Json => bytes(code, json, negotiated),
        Encoding::PrettyJson | Encoding::Yaml | Encoding::Protobuf => {
            match serde_json::from_slice(&json) {
                Ok(parsed) => value(code, &parsed, negotiated),
                Err(error) => plain_status(&Status::internal(error)),
            }
        }
    }
}

/// Answers with bytes that are in the negotiated encoding already.
pub fn bytes(code: StatusCode, bytes: Bytes, negotiated: Negotiated) -> Answer {
    let compressed =
        (negotiated.gzip && bytes.len() > GZIP_BYTES_MIN).then(|| gzip(&bytes)).flatten();
    let is_compressed = compressed.is_some();
    let mut answer = Response::new(body::full(compressed.unwrap_or(bytes)));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(negotiated.encoding.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if is_compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    answer
}

/// Answers with a failure.
pub fn status(status: &Status, negotiated: Negotiated) -> Answer {
    let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = value(code, &status.to_value(), negotiated);
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if seconds > 0 {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// The failure of last resort, when encoding itself failed.
fn plain_status(status: &Status) -> Answer {
    let mut answer = Response::new(body::full(status.to_value().to_string()));
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Answers with plain text.
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body::full(text));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// Writes a value in an encoding.
///
/// # Errors
/// 500 when the value cannot be written, which only a defect brings about.
pub fn encode(value: &Value, encoding: Encoding) -> Result<Bytes, Status> {
    let bytes = match encoding {
        Encoding::Json => serde_json::to_vec(value).map_err(Status::internal)?,
        Encoding::Protobuf => proto::encode_named(value)
            .ok_or_else(|| Status::internal("the value has no protobuf form"))?,
        Encoding::PrettyJson => serde_json::to_vec_pretty(value).map_err(Status::internal)?,
        Encoding::Yaml => serde_saphyr::to_string(value).map_err(Status::internal)?.into_bytes(),
    };
    Ok(bytes.into())
}

/// Bytes of all warnings of an answer; those beyond are left out, because clients bound their headers.
/// *Source:* kube-apiserver, which cuts at 4 KiB.
const WARNINGS_BYTES_MAX: usize = 4 << 10;

/// Adds `Warning: 299 - "..."` headers, one per warning; kubectl prints them.
///
/// *Source:* RFC 9111 warn-text as a quoted string; line ends cannot be in a header and become spaces.
pub fn warn(answer: &mut Answer, warnings: &[String]) {
    let mut bytes = 0;
    for warning in warnings {
        bytes += warning.len();
        if bytes > WARNINGS_BYTES_MAX {
            break;
        }
        let clean: String = warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let quoted = clean.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(header) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            answer.headers_mut().append(WARNING, header);
        }
    }
}

/// Compresses for the wire; `None` when the encoder fails, and the body is sent as it is.
pub fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder =
        GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::new(GZIP_LEVEL));
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Fastest level: lists are repetitive, and a list should not cost more CPU than it saves in transfer.
const GZIP_LEVEL: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_and_on_one_line() {
        let mut answer = text(StatusCode::OK, "");
        warn(&mut answer, &["unknown field \"spec.x\"\nsecond".to_owned()]);
        let header = answer.headers().get(WARNING).unwrap();
        assert_eq!(header.to_str().unwrap(), r#"299 - "unknown field \"spec.x\" second""#);
    }
}
