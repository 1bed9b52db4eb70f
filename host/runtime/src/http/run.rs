//! The guest's work on one request, from being let in to its end.
//!
//! An edge: it is a future with a clock.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use coracle_telemetry::RequestId;
use futures::future::BoxFuture;
use http_body::Body;
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime_wasi_http::Error;

use super::HttpContainer;
use super::admit::Admitted;
use super::instance::{Instance, Slot};
use crate::exit;
use crate::meter::{self, Metered};
use crate::spec::{FaultKind, Isolation};

/// A guest at work. Dropping it cuts the guest off.
pub(super) struct Run {
    guest: Metered<BoxFuture<'static, Served>>,
    /// What is only needed once the guest has not ended in one go.
    patience: Option<Box<Patience>>,
    http: Arc<HttpContainer>,
    request: RequestLine,
    id: Option<RequestId>,
    /// When the last piece of the response was taken, or the run was begun.
    progress: Instant,
    _admitted: Admitted,
    _in_flight: InFlight,
}

/// What was asked, for messages.
struct RequestLine(http::Method, http::Uri);

impl std::fmt::Display for RequestLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.1.path())
    }
}

/// What may cut a guest off.
struct Patience {
    timeout: Pin<Box<tokio::time::Sleep>>,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// What became of an instance.
struct Served {
    instance: Option<Instance>,
    result: wasmtime::Result<()>,
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The guest returned.
    Well,
    /// There was no slot or no memory for the instance.
    NoSlot,
    /// The guest trapped, or was cut off.
    Badly(FaultKind),
    /// The container was killed.
    Killed,
}

impl Run {
    /// Prepares a run; nothing happens before it is polled.
    pub(super) fn new<B>(
        http: &Arc<HttpContainer>,
        request: http::Request<B>,
        slot: &Slot,
        admitted: Admitted,
    ) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        let core = http.core.clone();
        let (engine, cpu) = (core.spec.image.engine.clone(), core.cpu.clone());
        let line = RequestLine(request.method().clone(), request.uri().clone());
        let id = request.extensions().get::<RequestId>().cloned();
        let taken = http.reuse.take();
        let slot = slot.clone();
        let guest: BoxFuture<'static, Served> = Box::pin(async move {
            let mut instance = match taken {
                Some(instance) => instance,
                None => match Instance::make(&core).await {
                    Ok(instance) => instance,
                    Err(error) => return Served { instance: None, result: Err(error) },
                },
            };
            let result = instance.serve(request, &slot).await;
            Served { instance: Some(instance), result }
        });
        Self {
            guest: Metered::new(guest, engine, cpu),
            patience: None,
            request: line,
            id,
            progress: meter::now(),
            _admitted: admitted,
            _in_flight: InFlight::new(http),
            http: http.clone(),
        }
    }

    /// Lets the guest work. After `Ready` it must not be polled again.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Poll::Ready(served) = Pin::new(&mut self.guest).poll(cx) {
            return Poll::Ready(self.settle(served));
        }
        let http = &self.http;
        let patience = self.patience.get_or_insert_with(|| {
            Box::new(Patience {
                timeout: Box::pin(tokio::time::sleep(http.core.spec.http.request_timeout)),
                killed: Box::pin(http.killed.clone().cancelled_owned()),
            })
        });
        if patience.killed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Killed);
        }
        if patience.timeout.as_mut().poll(cx).is_ready() {
            let limit = self.http.core.spec.http.request_timeout;
            let message = format!("{}: no end after {limit:?}", self.request);
            return Poll::Ready(self.fault(FaultKind::Timeout, message));
        }
        Poll::Pending
    }

    /// Gives the guest its whole time again, because a piece of the response has come.
    pub(super) fn progressed(&mut self) {
        self.progress = meter::now();
        if let Some(patience) = &mut self.patience {
            let limit = self.http.core.spec.http.request_timeout;
            patience.timeout.as_mut().reset(tokio::time::Instant::now() + limit);
        }
    }

    /// When the next piece of the response must have been taken.
    pub(super) fn due(&self) -> Instant {
        self.progress + self.http.core.spec.http.request_timeout
    }

    /// Waits for the end; for what is left when nobody reads the response any more.
    pub(super) async fn finish(mut self) {
        let _ = std::future::poll_fn(|cx| self.poll_end(cx)).await;
    }

    /// Tells a guest that ended without ever giving a response.
    pub(super) fn no_response(&self) -> Ended {
        let message = format!("{}: the guest returned without a response", self.request);
        self.fault(FaultKind::Trap, message)
    }

    fn settle(&self, served: Served) -> Ended {
        let Served { instance, result } = served;
        let refused_at_bytes = instance.as_ref().and_then(Instance::refused_at_bytes);
        let error = match result {
            Ok(()) => {
                if let Some(instance) = instance {
                    self.http.keep(instance);
                }
                return Ended::Well;
            }
            Err(error) => error,
        };
        let core = &self.http.core;
        let has_no_room = || !core.memory.has_room(core.spec.image.memory_bytes_min);
        if error.is::<wasmtime::PoolConcurrencyLimitError>()
            || (instance.is_none() && has_no_room())
        {
            return Ended::NoSlot;
        }
        let what = exit::message_of(&error);
        let message = format!("{}: {what}", self.request);
        let kind = if refused_at_bytes.is_some() { FaultKind::Memory } else { FaultKind::Trap };
        if core.spec.isolation == Isolation::Resident {
            let around = exit::Circumstance { ended_by: None, refused_at_bytes };
            self.http.end(exit::exit_of(Err(error), around));
        }
        self.fault(kind, message)
    }

    /// Counts a fault, and tells it if it is time.
    fn fault(&self, kind: FaultKind, message: String) -> Ended {
        let core = &self.http.core;
        core.counters.faults.fetch_add(1, Ordering::Relaxed);
        if let Some(fault) = self.http.faults.take(kind, &message, crate::meter::now()) {
            if let Some(log) = &core.log {
                let line = format!("coracle: request ended its instance: {message}");
                log.note(&line, self.id.clone());
            }
            if let Some(sink) = &core.spec.on_fault {
                sink(fault);
            }
        }
        if kind == FaultKind::Timeout && core.spec.isolation == Isolation::Resident {
            self.http.end(exit::Exit::killed(message));
        }
        Ended::Badly(kind)
    }
}

/// Counts one request as in flight until it is dropped.
pub(super) struct InFlight(Arc<HttpContainer>);

impl InFlight {
    fn new(http: &Arc<HttpContainer>) -> Self {
        http.in_flight.fetch_add(1, Ordering::AcqRel);
        http.core.counters.instances.fetch_add(1, Ordering::Relaxed);
        Self(http.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.core.counters.instances.fetch_sub(1, Ordering::Relaxed);
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
