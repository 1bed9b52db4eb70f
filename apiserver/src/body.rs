//! Request and response bodies: one boxed type for both, and bounded reading.

use bytes::{Bytes, BytesMut};
use coracle_api::status::Status;
use http_body::{Body as HttpBody, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

/// What a body's stream may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request or response body of any origin.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Largest request body in bytes. *Source:* kube-apiserver's default `MaxRequestBodyBytes`.
pub const REQUEST_BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Boxes a body.
pub fn boxed<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of no bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that sends each item of a stream as a frame.
pub fn stream<S>(stream: S) -> Body
where
    S: futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
{
    use futures::StreamExt;
    StreamBody::new(stream.map(|item| item.map(Frame::data))).boxed_unsync()
}

/// Reads a whole request body of at most [`REQUEST_BODY_BYTES_MAX`] bytes.
///
/// # Errors
/// 413 when it is longer (before reading it, when its length is announced), 400 when the client breaks off.
pub async fn read(body: Body) -> Result<Bytes, Status> {
    read_up_to(body, REQUEST_BODY_BYTES_MAX).await
}

/// Bytes of a body over its limit that are read and thrown away before the answer, because clients that are still
/// sending do not see an answer that comes earlier.
const DRAIN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads a whole body of at most `bytes_max` bytes.
///
/// # Errors
/// As [`read`].
pub async fn read_up_to(mut body: Body, bytes_max: usize) -> Result<Bytes, Status> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut over = body.size_hint().lower() > bytes_max as u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Status::bad_request(format!("cannot read the request body: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        over |= first.len() + rest.len() + data.len() > bytes_max;
        if over {
            drain(body, data.len()).await;
            break;
        }
        // Most bodies are one frame; those are passed on without copying.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    if over {
        return Err(Status::too_large(format!("limit is {bytes_max}")));
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

async fn drain(mut body: Body, mut drained: usize) {
    while drained < DRAIN_BYTES_MAX {
        let Some(Ok(frame)) = body.frame().await else { return };
        drained += frame.data_ref().map_or(0, Bytes::len);
    }
}
