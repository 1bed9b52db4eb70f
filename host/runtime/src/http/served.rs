//! What is counted and told of one request, from its arrival to the end of its response.

use std::sync::Arc;
use std::time::Instant;

use coracle_telemetry::{Ends, Seen, Span};
use http::{Request, Response};

use super::body::GuestBody;
use crate::container::Core;
use crate::meter;

/// A request that is being served. Dropped with the last byte of the response, or when nobody waits
/// for it any more: then it is counted.
pub(super) struct Served {
    core: Arc<Core>,
    began: Instant,
    status: Option<u16>,
    /// Made when the container has a tracer; boxed, because most have none.
    span: Option<Box<Span>>,
    /// Made when somebody notes requests.
    seen: Option<Box<Seen>>,
}

impl Served {
    /// Begins. With a tracer, the request names its span from now on, for the guest, and has the
    /// span's context with it, for what the guest asks of others; where requests are noted, it names its id.
    pub(super) fn begin<B>(core: &Arc<Core>, request: &mut Request<B>) -> Self {
        let ends = request.extensions_mut().remove::<Ends>();
        let span = core.spec.tracer.as_ref().map(|tracer| {
            let span = tracer.serve(request, ends);
            request.extensions_mut().insert(span.context());
            Box::new(span)
        });
        let seen = core.spec.requests.is_some().then(|| {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            let peer = ends.map(|ends| ends.peer);
            let seen = Seen::begin((&method, &uri), request.headers_mut(), peer);
            request.extensions_mut().insert(seen.id.clone());
            Box::new(seen)
        });
        Self { core: core.clone(), began: meter::now(), status: None, span, seen }
    }

    /// Goes on with the response, to its end.
    pub(super) fn answered(mut self, mut response: Response<GuestBody>) -> Response<GuestBody> {
        self.status = Some(response.status().as_u16());
        if let Some(span) = &mut self.span {
            span.answered(response.status());
        }
        if let Some(seen) = &self.seen {
            seen.id.write(response.headers_mut());
        }
        response.map(|body| body.of_request(self))
    }

    /// The response broke off.
    pub(super) fn broke_off(&mut self) {
        if let Some(span) = &mut self.span {
            span.failed("response_broke_off");
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let time = meter::now().saturating_duration_since(self.began);
        self.core.counters.latency.record(time, self.status);
        if let (Some(span), None) = (&mut self.span, self.status) {
            span.failed("no_answer");
        }
        if let (Some(seen), Some(sink)) = (self.seen.take(), &self.core.spec.requests) {
            sink.take(seen.ended(self.status, time));
        }
    }
}
