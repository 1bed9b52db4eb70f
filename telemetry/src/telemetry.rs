//! A process's way to its collector, and the tracers of its parts.
//!
//! An edge: it starts the task that sends, and waits for its end.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{Config, Sampling};
use crate::export;
use crate::queue::{IntoQueue, Queue};

/// Why tracing does not begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot send spans to {endpoint}")]
pub struct TelemetryError {
    endpoint: String,
    #[source]
    source: export::NoExporter,
}

/// Whose spans they are: `service.name` and more, by the names of the OpenTelemetry conventions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Name and value, in any order; the last one of a name counts.
    pub attributes: Vec<(Cow<'static, str>, String)>,
}

impl Resource {
    /// A resource of which only the `service.name` is known.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::default().with("service.name", name)
    }

    /// The same with one attribute more.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }
}

/// A process's way to its collector. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry {
    queue: Queue,
    sampling: Sampling,
}

/// The task that sends spans. Dropping it ends it without waiting for what is left.
#[derive(Debug)]
pub struct Exporting {
    task: JoinHandle<()>,
    end: Option<oneshot::Sender<()>>,
}

impl Telemetry {
    /// Begins to send spans. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the exporter cannot be made for this endpoint. A collector that does not answer is no
    /// error: spans are lost until it does, and the log says so.
    pub fn start(config: &Config) -> Result<(Self, Exporting), TelemetryError> {
        let exporter = export::exporter(&config.endpoint)
            .map_err(|source| TelemetryError { endpoint: config.endpoint.to_string(), source })?;
        let (queue, ended) = Queue::new();
        let (end, ending) = oneshot::channel();
        let task = tokio::spawn(export::run(exporter, queue.clone(), ended, ending));
        let sampling = config.sampling;
        Ok((Self { queue, sampling }, Exporting { task, end: Some(end) }))
    }

    /// Gives a tracer for the spans of one part.
    #[must_use]
    pub fn tracer(&self, resource: &Resource) -> Tracer {
        let pairs = resource.attributes.iter();
        let pairs = pairs.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        let resource = opentelemetry_sdk::Resource::builder_empty()
            .with_attributes(SDK.map(|(name, value)| KeyValue::new(name, value)))
            .with_attributes(pairs)
            .build();
        let processor =
            IntoQueue { resource: Arc::new(resource.clone()), queue: self.queue.clone() };
        let ratio = Sampler::TraceIdRatioBased(self.sampling.ratio());
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(resource)
            .with_span_processor(processor)
            .build();
        let scope = InstrumentationScope::builder(Cow::Borrowed("coracle"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Tracer { sdk: provider.tracer_with_scope(scope) }
    }

    /// Spans that were dropped because they came faster than the collector took them.
    #[must_use]
    pub fn dropped_spans(&self) -> u64 {
        self.queue.dropped()
    }
}

/// What the conventions want to know of who makes the spans.
const SDK: [(&str, &str); 2] =
    [("telemetry.sdk.name", "opentelemetry"), ("telemetry.sdk.language", "rust")];

impl Exporting {
    /// Sends what is left and ends; takes as long as the collector may take for one batch.
    pub async fn stop(mut self) {
        drop(self.end.take());
        if (&mut self.task).await.is_err() {
            tracing::error!("the task that sends spans panicked");
        }
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes the spans of one part. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    pub(crate) sdk: SdkTracer,
}
