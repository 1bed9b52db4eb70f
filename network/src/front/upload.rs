//! What became of a request's body on its way to a backend, so that a client's faults are not counted as
//! the backend's.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::LengthLimitError;
use parking_lot::Mutex;

use super::body::{Body, BodyError, boxed};

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The client may still send.
    Underway,
    /// It has ended, or nobody wants more of it.
    Over,
    /// The client broke it off.
    Broken,
    /// The client sent more than is allowed.
    TooLarge,
}

/// Tells how far a request's body has come.
pub(super) struct Upload(Arc<Mutex<Progress>>);

impl Upload {
    /// Watches the body of a request from now on.
    pub(super) fn watch(request: Request<Body>) -> (Request<Body>, Self) {
        if request.body().is_end_stream() {
            return (request, Self(Arc::new(Mutex::new(Progress::Over))));
        }
        let progress = Arc::new(Mutex::new(Progress::Underway));
        let of_body = Arc::clone(&progress);
        (request.map(|body| boxed(Watched { body, progress: of_body })), Self(progress))
    }

    /// How far it has come by now.
    pub(super) fn progress(&self) -> Progress {
        *self.0.lock()
    }
}

/// A body that is watched.
struct Watched {
    body: Body,
    progress: Arc<Mutex<Progress>>,
}

impl Watched {
    /// What comes first holds.
    fn settle(&self, outcome: Progress) {
        let mut progress = self.progress.lock();
        if *progress == Progress::Underway {
            *progress = outcome;
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.settle(Progress::Over),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.settle(Progress::Over),
            Poll::Ready(Some(Err(error))) if error.is::<LengthLimitError>() => {
                self.settle(Progress::TooLarge);
            }
            Poll::Ready(Some(Err(_))) => self.settle(Progress::Broken),
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

impl Drop for Watched {
    fn drop(&mut self) {
        self.settle(Progress::Over);
    }
}
