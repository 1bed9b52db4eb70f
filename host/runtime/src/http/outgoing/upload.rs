//! What became of a request's body, so that a guest's own faults are not counted as the backend's.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, WasiBody};

/// Tells what became of a request's body.
pub(super) struct Upload(Arc<State>);

#[derive(Default)]
struct State {
    has_ended: AtomicBool,
    is_broken: AtomicBool,
}

impl Upload {
    /// Watches the body of a request from now on.
    pub(super) fn watch(request: Request<WasiBody>) -> (Request<WasiBody>, Self) {
        let state = Arc::new(State::default());
        if request.body().is_end_stream() {
            state.has_ended.store(true, Ordering::Relaxed);
            return (request, Self(state));
        }
        let of_body = state.clone();
        (request.map(|body| Watched { body, state: of_body }.boxed_unsync()), Self(state))
    }

    /// Whether the guest has said all.
    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended.load(Ordering::Acquire)
    }

    /// Whether the guest broke it off.
    pub(super) fn is_broken(&self) -> bool {
        self.0.is_broken.load(Ordering::Acquire)
    }
}

/// A body that is watched.
struct Watched {
    body: WasiBody,
    state: Arc<State>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Err(_))) => self.state.is_broken.store(true, Ordering::Release),
            Poll::Ready(None) => self.state.has_ended.store(true, Ordering::Release),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => {
                self.state.has_ended.store(true, Ordering::Release);
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
