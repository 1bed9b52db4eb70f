//! One request: let in, given to an instance, answered.
//!
//! An edge: it awaits the guest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use http_body::Body;
use wasmtime_wasi_http::Error;

use super::body::GuestBody;
use super::instance::Slot;
use super::run::{Ended, Run};
use super::served::Served;
use super::{HttpContainer, answer};
use crate::spec::FaultKind;

impl HttpContainer {
    /// Answers a request. What the guest or this host cannot do becomes a response as well: 400,
    /// 502, 503. Counted until the response has ended.
    pub(crate) async fn call<B>(self: &Arc<Self>, mut request: Request<B>) -> Response<GuestBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        let served = Served::begin(&self.core, &mut request);
        let response = self.answer(request).await;
        served.answered(response)
    }

    async fn answer<B>(self: &Arc<Self>, mut request: Request<B>) -> Response<GuestBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        if self.killed.is_cancelled() {
            return answer::stopping();
        }
        if let Err(text) = complete_host(&mut request) {
            return answer::bad_request(text);
        }
        self.core.counters.requests.fetch_add(1, Ordering::Relaxed);
        let memory_bytes = self.core.spec.image.memory_bytes_min;
        let admitted = match self.admission.enter(&self.core.memory, memory_bytes).await {
            Ok(admitted) => admitted,
            Err(why) => return answer::busy(why),
        };
        if !self.core.is_running() {
            return answer::stopping();
        }
        let slot = Slot::default();
        let mut run = Run::new(self, request, &slot, admitted);
        let ended = std::future::poll_fn(|cx| match run.poll_end(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if slot.lock().is_some() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        let response = slot.lock().take();
        match response {
            Some(Ok(response)) => finish(response, run, ended),
            Some(Err(code)) => answer::failed(&error_text(&code)),
            None => without_response(&run, ended),
        }
    }
}

/// Joins the response with what is still to come of it.
fn finish(
    response: Response<wasmtime_wasi_http::WasiBody>,
    run: Run,
    ended: Option<Ended>,
) -> Response<GuestBody> {
    match ended {
        None => response.map(|body| GuestBody::of_running(body, run)),
        Some(Ended::Well) => response.map(GuestBody::of_ended),
        Some(bad) => without_response(&run, Some(bad)),
    }
}

fn without_response(run: &Run, ended: Option<Ended>) -> Response<GuestBody> {
    match ended {
        Some(Ended::NoSlot) => answer::no_slot(),
        Some(Ended::Killed) => answer::stopping(),
        Some(Ended::Badly(kind)) => answer::failed(fault_text(kind)),
        Some(Ended::Well) | None => {
            run.no_response();
            answer::failed("the guest gave no response")
        }
    }
}

/// What a client is told; the trap itself goes to the container's log alone.
const fn fault_text(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Trap => "the guest failed on this request (see the container's log)",
        FaultKind::Timeout => "the guest did not answer in time",
        FaultKind::Memory => "the guest ran out of memory on this request",
    }
}

fn error_text(code: &str) -> String {
    format!("the guest answered with an error: {code}")
}

/// Sees to it that the request has an authority, which HTTP/1.0 clients need not send.
fn complete_host<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    if request.uri().authority().is_some() {
        return Ok(());
    }
    match request.headers().get(HOST) {
        Some(host) if host.to_str().is_ok() => Ok(()),
        Some(_) => Err("the Host header must be ASCII"),
        None => {
            request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
            Ok(())
        }
    }
}
