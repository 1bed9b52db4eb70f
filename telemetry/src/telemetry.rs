//! A process's way to its collector, and the tracers of its parts.
//!
//! An edge: it starts the tasks that send, and waits for their end.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{Config, Sampling, Signal};
use crate::export;
use crate::logs::{LogQueue, Logger};
use crate::metrics::{Source, Sources};
use crate::post::{self, Post};
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
    logs: Option<LogQueue>,
    sources: Option<Sources>,
}

/// How long what is left may take at the end: as long as one batch, since whoever stops a server waits for
/// it. A collector that answers takes all of it in a moment.
const STOP_MAX: Duration = export::EXPORT_TIMEOUT;

/// The tasks that send. Dropping it ends them without waiting for what is left.
#[derive(Debug, Default)]
pub struct Exporting {
    tasks: Vec<JoinHandle<()>>,
    ends: Vec<oneshot::Sender<()>>,
}

impl Telemetry {
    /// Begins to send. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the exporter cannot be made for this endpoint. A collector that does not answer is no
    /// error: what there is to send is lost until it does, and the log says so.
    pub fn start(config: &Config) -> Result<(Self, Exporting), TelemetryError> {
        let failed = |source| TelemetryError { endpoint: config.endpoint.to_string(), source };
        let is_wanted = |signal| config.signals.contains(&signal);
        let post =
            |signal| is_wanted(signal).then(|| Post::new(&config.endpoint, signal)).transpose();
        let exporter = export::exporter(&config.endpoint).map_err(failed)?;
        let (to_logs, to_metrics) =
            (post(Signal::Logs).map_err(failed)?, post(Signal::Metrics).map_err(failed)?);
        let mut exporting = Exporting::default();
        let (queue, ended) = Queue::new(is_wanted(Signal::Traces));
        let ending = exporting.ending();
        exporting.spawn(export::run(exporter, queue.clone(), ended, ending));
        let logs = to_logs.map(|post| {
            let (queue, lines) = LogQueue::new();
            let ending = exporting.ending();
            exporting.spawn(post::logs(post, queue.clone(), lines, ending));
            queue
        });
        let sources = to_metrics.map(|post| {
            let sources = Sources::default();
            let ending = exporting.ending();
            let interval = config.metrics_interval;
            exporting.spawn(post::metrics(post, sources.clone(), interval, ending));
            sources
        });
        Ok((Self { queue, sampling: config.sampling, logs, sources }, exporting))
    }

    /// Gives what sends the lines of one part, if lines are wanted.
    #[must_use]
    pub fn logger(&self, resource: &Resource) -> Option<Logger> {
        let queue = self.logs.clone()?;
        Some(Logger { of: Arc::new(resource.clone()), queue })
    }

    /// Measures one part from now on, until it says that it is gone; nothing where that is not wanted.
    pub fn measure(&self, resource: &Resource, source: Source) {
        if let Some(sources) = &self.sources {
            sources.add(resource.clone(), post::now_nanos(), source);
        }
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
pub(crate) const SDK: [(&str, &str); 2] =
    [("telemetry.sdk.name", "opentelemetry"), ("telemetry.sdk.language", "rust")];

impl Exporting {
    fn ending(&mut self) -> oneshot::Receiver<()> {
        let (end, ending) = oneshot::channel();
        self.ends.push(end);
        ending
    }

    fn spawn(&mut self, sending: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(sending));
    }

    /// Sends what is left and ends, after ten seconds at the latest: a collector that does not answer must not
    /// keep a process from its end.
    pub async fn stop(mut self) {
        self.ends.clear();
        let all = async {
            for task in &mut self.tasks {
                if task.await.is_err() {
                    tracing::error!("a task that sends to the collector panicked");
                }
            }
        };
        if tokio::time::timeout(STOP_MAX, all).await.is_err() {
            tracing::warn!("the collector does not answer; what was left for it is lost");
        }
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Makes the spans of one part. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    pub(crate) sdk: SdkTracer,
}
