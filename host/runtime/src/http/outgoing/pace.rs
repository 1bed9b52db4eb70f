//! A body that must not pause for too long.
//!
//! An edge: it is a stream with a clock.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, WasiBody};

/// Ends a body with an error when the next frame takes longer than allowed.
pub(super) struct Paced<B> {
    body: B,
    pause_max: Duration,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<B> Paced<B>
where
    B: Body<Data = Bytes, Error = Error> + Unpin + Send + 'static,
{
    /// Gives `body` as wasi:http wants it, with the guest's `between-bytes-timeout` if it has one.
    pub(super) fn wrap(body: B, pause_max: Option<Duration>) -> WasiBody {
        match pause_max {
            Some(pause_max) => Self { body, pause_max, pause: None }.boxed_unsync(),
            None => body.boxed_unsync(),
        }
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes, Error = Error> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.pause = None;
            return Poll::Ready(frame);
        }
        let pause_max = this.pause_max;
        let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause_max)));
        pause.as_mut().poll(cx).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
