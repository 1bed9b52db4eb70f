//! Traces: spans of requests, sent to an OpenTelemetry collector.
//!
//! In come requests, with the trace context that they carry; out go spans, by OTLP over HTTP. Nothing
//! here knows Kubernetes or components: a [`Resource`] says whose spans they are. See `README.md`.

mod config;
mod export;
mod headers;
mod queue;
mod span;
mod telemetry;

pub use config::{Config, Endpoint, EndpointError, Sampling, SamplingError};
pub use opentelemetry::trace::SpanContext;
pub use queue::QUEUE_SPANS_MAX;
pub use span::{Ends, Span};
pub use telemetry::{Exporting, Resource, Telemetry, TelemetryError, Tracer};
