//! Bodies on their way through, and answers of our own.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};

/// What can go wrong in the middle of a body.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body of either direction.
pub(super) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body of a body.
pub(super) fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}

/// No body.
pub(super) fn empty() -> Body {
    boxed(Empty::new())
}

/// A body that is there already.
pub(super) fn full(bytes: Bytes) -> Body {
    boxed(Full::new(bytes))
}

/// An answer of our own: a status, and a line that says why.
pub(super) fn answer(status: StatusCode, why: &str) -> Response<Body> {
    let mut answer = Response::new(full(format!("{}: {why}\n", status.as_str()).into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// A body after whose end something is to be done; not if it is dropped before.
pub(super) struct Ending<F: FnOnce() + Unpin> {
    body: hyper::body::Incoming,
    then: Option<F>,
}

impl<F: FnOnce() + Unpin> Ending<F> {
    /// Does `then` when the body has ended, which may be now.
    pub(super) fn new(body: hyper::body::Incoming, then: F) -> Self {
        let mut ending = Self { body, then: Some(then) };
        ending.look();
        ending
    }

    fn look(&mut self) {
        if self.body.is_end_stream()
            && let Some(then) = self.then.take()
        {
            then();
        }
    }
}

impl<F: FnOnce() + Unpin> http_body::Body for Ending<F> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => {
                if let Some(then) = self.then.take() {
                    then();
                }
            }
            Poll::Ready(Some(Ok(_))) => self.look(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
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
