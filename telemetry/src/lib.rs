//! Traces, metrics and logs, sent to an OpenTelemetry collector.
//!
//! In come requests, with the trace context that they carry, lines of logs, and what parts measure; out
//! go spans, records and metrics, by OTLP over HTTP. Nothing here knows Kubernetes or components: a
//! [`Resource`] says whose they are. See `README.md`.

mod checks;
mod config;
mod export;
mod headers;
mod logs;
mod metrics;
mod otlp;
mod post;
mod queue;
mod request_lines;
mod requests;
mod span;
mod telemetry;

pub use checks::Checks;
pub use config::{Config, Endpoint, EndpointError, Sampling, SamplingError, Signal, SignalError};
pub use logs::{Logger, QUEUE_LINES_MAX, Stream};
pub use metrics::{Data, Metric, SOURCES_MAX, Source};
pub use opentelemetry::trace::SpanContext;
pub use queue::QUEUE_SPANS_MAX;
pub use request_lines::{REQUEST_LINES_BYTES_MAX, REQUEST_LINES_FOUND_MAX, RequestLineSink};
pub use requests::{
    NoRequestId, REQUESTS_FOUND_MAX, REQUESTS_KEPT_MAX, Reach, RequestId, RequestSink, Requests,
    Seen,
};
pub use span::{Ends, Span};
pub use telemetry::{Exporting, Resource, Telemetry, TelemetryError, Tracer};
