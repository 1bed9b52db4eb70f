//! The body of a response, with the guest that still writes it inside.
//!
//! The guest is polled by whoever reads the body, in the same task: no task of its own, no wake-ups
//! between two. If the reader goes away first, the guest ends its work in a task.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use wasmtime_wasi_http::{Error, WasiBody};

use super::run::{Ended, Run};
use super::served::Served;
use crate::meter;

/// How soon a guest is looked at again that was at work.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A response's body.
pub(crate) struct GuestBody {
    kind: Kind,
    /// The request that it answers, which ends with it.
    served: Option<Served>,
}

enum Kind {
    /// Nothing left.
    End,
    /// All of it, known beforehand.
    Whole(Bytes),
    /// Still being written.
    Open(Box<Open>),
}

struct Open {
    /// Frames that were taken out of `body` before it was handed over.
    ahead: VecDeque<Frame<Bytes>>,
    body: WasiBody,
    run: Arc<Mutex<Option<Run>>>,
    /// Looks after the guest while nobody reads.
    watch: Option<AbortHandle>,
}

impl GuestBody {
    /// A body that is known.
    pub(super) fn whole(bytes: Bytes) -> Self {
        let kind = if bytes.is_empty() { Kind::End } else { Kind::Whole(bytes) };
        Self { kind, served: None }
    }

    /// Ends a request with this body.
    pub(super) fn of_request(self, served: Served) -> Self {
        Self { served: Some(served), ..self }
    }

    /// The body of a guest that has ended: if all of it is there in one piece, its length is known,
    /// which spares the client the chunks.
    pub(super) fn of_ended(mut body: WasiBody) -> Self {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut ahead = VecDeque::new();
        loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => ahead.push_back(frame),
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(_))) | Poll::Pending => return Self::open(ahead, body, None),
            }
        }
        if ahead.is_empty() {
            return Self { kind: Kind::End, served: None };
        }
        if ahead.len() == 1
            && let Some(Ok(bytes)) = ahead.pop_front().map(Frame::into_data)
        {
            return Self::whole(bytes);
        }
        Self::open(ahead, body, None)
    }

    /// The body of a guest that still works.
    pub(super) fn of_running(body: WasiBody, run: Run) -> Self {
        Self::open(VecDeque::new(), body, Some(run))
    }

    fn open(ahead: VecDeque<Frame<Bytes>>, body: WasiBody, run: Option<Run>) -> Self {
        let run = Arc::new(Mutex::new(run));
        let watch = watch(&run);
        Self { kind: Kind::Open(Box::new(Open { ahead, body, run, watch })), served: None }
    }
}

/// Cuts a guest off when no piece of its response was taken in a request's time: without a reader
/// nobody lets it work, and it would hold its place for as long as the reader likes.
fn watch(run: &Arc<Mutex<Option<Run>>>) -> Option<AbortHandle> {
    run.lock().as_ref()?;
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    let run = run.clone();
    let watch = async move {
        loop {
            // One that is at work is not forgotten.
            let due = match run.try_lock().as_deref() {
                None => meter::now() + LOOK_AGAIN,
                Some(None) => return,
                Some(Some(run)) => run.due(),
            };
            if due <= meter::now() {
                let forgotten = run.lock().take();
                return drop(forgotten);
            }
            tokio::time::sleep_until(due.into()).await;
        }
    };
    Some(runtime.spawn(watch).abort_handle())
}

impl Open {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = self.poll_next(cx);
        if let (Poll::Ready(Some(Ok(_))), Some(run)) = (&frame, &mut *self.run.lock()) {
            run.progressed();
        }
        frame
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(None) => {
                    return self
                        .poll_guest(cx)
                        .map_or(Poll::Ready(None), |error| Poll::Ready(error.map(Err)));
                }
                Poll::Ready(frame) => return Poll::Ready(frame),
                Poll::Pending if self.run.lock().is_none() => return Poll::Pending,
                Poll::Pending => {}
            }
            match self.poll_guest(cx) {
                Some(Some(error)) => return Poll::Ready(Some(Err(error))),
                Some(None) => {}
                // The guest may have written before it had to wait.
                None => return Pin::new(&mut self.body).poll_frame(cx),
            }
        }
    }

    /// Lets the guest work; `Some` when it has ended now or before, with the error if badly.
    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Option<Option<Error>> {
        let mut guest = self.run.lock();
        let Some(run) = &mut *guest else { return Some(None) };
        let Poll::Ready(ended) = run.poll_end(cx) else { return None };
        *guest = None;
        Some(match ended {
            Ended::Well => None,
            Ended::NoSlot | Ended::Badly(_) | Ended::Killed => {
                Some(Error::InternalError(Some("the guest ended in its response".to_owned())))
            }
        })
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.kind {
            Kind::End => Poll::Ready(None),
            Kind::Open(open) => {
                let frame = open.poll_frame(cx);
                if let (Poll::Ready(Some(Err(_))), Some(served)) = (&frame, &mut self.served) {
                    served.broke_off();
                }
                frame
            }
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::End;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::End)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::End => SizeHint::with_exact(0),
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Open(_) => SizeHint::default(),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        if let Some(run) = self.run.lock().take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(run.finish());
        }
    }
}
