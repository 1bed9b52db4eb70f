//! The bounded queue between whoever ends a span and whoever sends it. Nothing here waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

/// Spans that wait to be sent; one more is dropped and counted, so that a collector that is slow or
/// away costs a bounded amount of memory (a span is about 1 KiB) and no request waits for it.
///
/// *Source:* the default of `OTEL_BSP_MAX_QUEUE_SIZE`.
pub const QUEUE_SPANS_MAX: usize = 2048;

/// A span that has ended, and whose it is.
pub(crate) struct Ended {
    pub(crate) resource: Arc<opentelemetry_sdk::Resource>,
    pub(crate) span: SpanData,
}

/// Where spans are put in.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Ended>,
    dropped: Arc<AtomicU64>,
    /// Spans are wanted; else they only hand the trace on.
    is_wanted: bool,
}

impl Queue {
    /// Makes a queue, and its other end.
    pub(crate) fn new(is_wanted: bool) -> (Self, mpsc::Receiver<Ended>) {
        let (sender, receiver) = mpsc::channel(QUEUE_SPANS_MAX);
        (Self { sender, dropped: Arc::default(), is_wanted }, receiver)
    }

    /// Spans that were dropped because the queue was full, or because nobody sends any more.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn put(&self, ended: Ended) {
        if self.sender.try_send(ended).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Puts the spans of one resource into the queue.
#[derive(Debug)]
pub(crate) struct IntoQueue {
    pub(crate) resource: Arc<opentelemetry_sdk::Resource>,
    pub(crate) queue: Queue,
}

impl SpanProcessor for IntoQueue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.is_wanted && span.span_context.is_sampled() {
            self.queue.put(Ended { resource: self.resource.clone(), span });
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// One resource's end is not the queue's.
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
