//! A request's body that goes on being taken in though whom it is for no longer reads it.
//!
//! On other hosts a guest can write the end of a body that nobody reads: buffers and the kernel take
//! it. A handler called in process drops it when it has answered, and so does hyper's client when the
//! answer is early; without this the guest's write would fail, and with it the request.
//!
//! An edge: what is left over is read by a task.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, WasiBody};

/// Bytes that are taken in after the reader has gone; then the writer is cut off, as a server that
/// does not want a body does.
const LEFT_OVER_BYTES_MAX: usize = 256 * 1024;

/// How long the writer has for them.
const LEFT_OVER_TIME_MAX: Duration = Duration::from_secs(5);

/// Takes a body in to its end, whether or not it is read. See the module.
pub(super) struct Lingering(Option<WasiBody>);

impl Lingering {
    pub(super) fn new(body: WasiBody) -> Self {
        Self(Some(body))
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(LEFT_OVER_TIME_MAX, take_in(body)));
        }
    }
}

async fn take_in(mut body: WasiBody) {
    let mut left = LEFT_OVER_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
