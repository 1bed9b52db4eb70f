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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use http_body_util::StreamBody;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    const PIECE: usize = 16 * 1024;

    /// A body of `pieces`, and how many of them were taken; the receiver hears of its end.
    fn body(pieces: usize) -> (Lingering, Arc<AtomicUsize>, oneshot::Receiver<()>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let (alive, gone) = oneshot::channel::<()>();
        let count = taken.clone();
        let frames = futures::stream::iter(0..pieces).map(move |_| {
            let _held = &alive;
            count.fetch_add(1, Ordering::AcqRel);
            Ok(Frame::data(Bytes::from_static(&[0; PIECE])))
        });
        (Lingering::new(StreamBody::new(frames).boxed_unsync()), taken, gone)
    }

    #[tokio::test]
    async fn what_a_reader_leaves_is_taken_in_to_its_end() {
        let (mut lingering, taken, gone) = body(10);
        lingering.frame().await.unwrap().unwrap();
        drop(lingering);
        gone.await.unwrap_err();
        assert_eq!(taken.load(Ordering::Acquire), 10);
    }

    #[tokio::test]
    async fn a_writer_of_more_than_that_is_cut_off() {
        let (lingering, taken, gone) = body(usize::MAX);
        drop(lingering);
        gone.await.unwrap_err();
        assert_eq!(taken.load(Ordering::Acquire), LEFT_OVER_BYTES_MAX / PIECE + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_is_too_slow_is_cut_off() {
        let (alive, gone) = oneshot::channel::<()>();
        let never = futures::stream::once(async move {
            let _held = alive;
            std::future::pending::<Result<Frame<Bytes>, Error>>().await
        });
        drop(Lingering::new(StreamBody::new(never).boxed_unsync()));
        gone.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_body_that_was_read_leaves_nothing() {
        let (mut lingering, taken, gone) = body(2);
        while let Some(frame) = lingering.frame().await {
            frame.unwrap();
        }
        gone.await.unwrap_err();
        drop(lingering);
        assert_eq!(taken.load(Ordering::Acquire), 2);
    }
}
