//! Sends spans to the collector.
//!
//! An edge: one task, which waits for spans and for the collector.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::{mpsc, oneshot};

use crate::config::Endpoint;
use crate::queue::{Ended, Queue};

/// Spans that are sent together.
///
/// *Source:* the default of `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
const BATCH_SPANS_MAX: usize = 512;

/// How long the first span of a batch waits for others: one request to the collector a second is
/// little, and who looks at traces sees the last ones soon.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// How long the collector may take for one batch, further tries included.
///
/// *Source:* the default of `OTEL_EXPORTER_OTLP_TIMEOUT`.
pub(crate) const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no exporter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoExporter {
    /// There are no TLS versions in common with ourselves.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The settings are wrong, such as those in `OTEL_EXPORTER_OTLP_HEADERS`.
    #[error(transparent)]
    Settings(#[from] ExporterBuildError),
}

/// What connects to the collector.
pub(crate) type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

/// Makes what connects to the collector: TLS by rustls with the machine's authorities.
pub(crate) fn connector() -> Result<Connector, NoExporter> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities())
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build())
}

/// Makes what speaks to the collector, by hyper.
pub(crate) fn exporter(endpoint: &Endpoint) -> Result<SpanExporter, NoExporter> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::new(connector()?, EXPORT_TIMEOUT, None))
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        .with_endpoint(endpoint.to_string())
        .build()?;
    Ok(exporter)
}

fn authorities() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (_trusted, _unreadable) = roots.add_parsable_certificates(found.certs);
    roots
}

/// Sends what comes out of the queue, until `end`; then what is left, once.
pub(crate) async fn run(
    exporter: SpanExporter,
    queue: Queue,
    mut ended: mpsc::Receiver<Ended>,
    mut end: oneshot::Receiver<()>,
) {
    let mut collector = Collector { exporter, queue, dropped: 0, failing: false };
    loop {
        let mut batch = Vec::new();
        let ending = tokio::select! {
            _ = &mut end => true,
            _ = ended.recv_many(&mut batch, BATCH_SPANS_MAX) => false,
        };
        let ending = ending
            || tokio::select! {
                _ = &mut end => true,
                _ = tokio::time::timeout(BATCH_DELAY, fill(&mut batch, &mut ended)) => false,
            };
        if ending {
            ended.close();
            while ended.recv_many(&mut batch, BATCH_SPANS_MAX).await > 0 {}
            return collector.send(batch).await;
        }
        collector.send(batch).await;
    }
}

/// Takes more spans until the batch is full. Cancel safe: what was taken is in the batch.
async fn fill(batch: &mut Vec<Ended>, ended: &mut mpsc::Receiver<Ended>) {
    while batch.len() < BATCH_SPANS_MAX {
        let more = BATCH_SPANS_MAX - batch.len();
        if ended.recv_many(batch, more).await == 0 {
            return;
        }
    }
}

/// The collector, and how it fares.
struct Collector {
    exporter: SpanExporter,
    queue: Queue,
    /// Spans that were dropped when somebody was last told.
    dropped: u64,
    failing: bool,
}

impl Collector {
    /// Sends a batch, a request for each resource: the exporter knows one at a time.
    async fn send(&mut self, batch: Vec<Ended>) {
        for (resource, spans) in by_resource(batch) {
            self.exporter.set_resource(&resource);
            let count = spans.len();
            match self.exporter.export(spans).await {
                Ok(()) if self.failing => {
                    self.failing = false;
                    tracing::info!("the collector takes spans again");
                }
                Ok(()) => {}
                // Told once; what follows is the same again.
                Err(error) if !self.failing => {
                    self.failing = true;
                    tracing::warn!(%error, spans = count, "the collector did not take spans; they are lost");
                }
                Err(error) => tracing::debug!(%error, spans = count, "spans are lost"),
            }
        }
        let dropped = self.queue.dropped();
        if dropped > self.dropped {
            let more = dropped - self.dropped;
            tracing::warn!(spans = more, "spans were dropped: the collector is too slow");
            self.dropped = dropped;
        }
    }
}

fn by_resource(batch: Vec<Ended>) -> Vec<(Arc<Resource>, Vec<SpanData>)> {
    let mut groups: Vec<(Arc<Resource>, Vec<SpanData>)> = Vec::new();
    let mut places: HashMap<*const Resource, usize> = HashMap::new();
    for Ended { resource, span } in batch {
        let place = *places.entry(Arc::as_ptr(&resource)).or_insert_with(|| {
            groups.push((resource, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, spans)) = groups.get_mut(place) {
            spans.push(span);
        }
    }
    groups
}
