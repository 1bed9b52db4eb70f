//! Sends logs and metrics to the collector.
//!
//! An edge: two tasks, which wait for lines, for the clock and for the collector.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use opentelemetry_http::HttpClient;
use opentelemetry_http::hyper::HyperClient;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::config::{Endpoint, Signal};
use crate::export::{self, EXPORT_TIMEOUT, NoExporter};
use crate::logs::{LogQueue, LogRecord, Queued};
use crate::metrics::Sources;
use crate::otlp;
use crate::telemetry::Resource;

/// Lines that are sent together.
///
/// *Source:* the default of `OTEL_BLRP_MAX_EXPORT_BATCH_SIZE`.
const BATCH_LINES_MAX: usize = 512;

/// How long the first line of a batch waits for others.
///
/// *Source:* the default of `OTEL_BLRP_SCHEDULE_DELAY`.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// Parts whose measurements are sent with one request, so that its body is a few hundred KiB.
const BATCH_PARTS_MAX: usize = 200;

/// Headers for every request, as `name=value` with commas between.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// The way to the collector for one kind of thing.
pub(crate) struct Post {
    client: HyperClient<export::Connector>,
    endpoint: Endpoint,
    headers: Vec<(HeaderName, HeaderValue)>,
    what: &'static str,
    is_failing: bool,
}

impl Post {
    /// Makes one.
    ///
    /// # Errors
    /// There is no TLS to speak.
    pub(crate) fn new(endpoint: &Endpoint, signal: Signal) -> Result<Self, NoExporter> {
        Ok(Self {
            client: HyperClient::new(export::connector()?, EXPORT_TIMEOUT, None),
            endpoint: endpoint.of(signal),
            headers: headers(&given_headers()),
            what: signal.as_str(),
            is_failing: false,
        })
    }

    /// Sends a message. What the collector does not take is lost, and said once.
    async fn send(&mut self, message: &Value) {
        match self.try_send(message).await {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                tracing::info!(what = self.what, "the collector takes it again");
            }
            Ok(()) => {}
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                let what = self.what;
                tracing::warn!(what, error, "the collector did not take it; it is lost");
            }
            Err(error) => tracing::debug!(what = self.what, error, "lost"),
        }
    }

    async fn try_send(&self, message: &Value) -> Result<(), String> {
        let mut request = Request::post(self.endpoint.to_string())
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(message.to_string()))
            .map_err(|error| error.to_string())?;
        request.headers_mut().extend(self.headers.iter().cloned());
        let answer = self.client.send_bytes(request).await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "OpenTelemetry's own setting, as its exporter reads it"
)]
fn given_headers() -> String {
    std::env::var(HEADERS).unwrap_or_default()
}

/// Reads `name=value,name=value`; what is no header is left out.
fn headers(text: &str) -> Vec<(HeaderName, HeaderValue)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
    };
    text.split(',').filter_map(pair).collect()
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "measurements carry the time they were made")]
pub(crate) fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Sends the lines that come out of the queue, until `end`; then what is left, once.
pub(crate) async fn logs(
    mut post: Post,
    queue: LogQueue,
    mut lines: mpsc::Receiver<Queued>,
    mut end: oneshot::Receiver<()>,
) {
    let mut dropped = 0;
    loop {
        let mut batch = Vec::new();
        let is_ending = tokio::select! {
            _ = &mut end => true,
            _ = lines.recv_many(&mut batch, BATCH_LINES_MAX) => false,
        };
        let is_full = batch.len() >= BATCH_LINES_MAX;
        let is_ending = is_ending
            || !is_full
                && tokio::select! {
                    _ = &mut end => true,
                    () = tokio::time::sleep(BATCH_DELAY) => false,
                };
        if is_ending {
            lines.close();
        }
        while let Ok(line) = lines.try_recv() {
            batch.push(line);
        }
        for some in batch.chunks(BATCH_LINES_MAX) {
            post.send(&otlp::logs(by_resource(some))).await;
        }
        let now = queue.dropped();
        if now > dropped {
            tracing::warn!(lines = now - dropped, "log lines were not sent: the collector is slow");
            dropped = now;
        }
        if is_ending {
            return;
        }
    }
}

fn by_resource(batch: &[Queued]) -> Vec<(&Resource, Vec<&LogRecord>)> {
    let mut groups: Vec<(&Arc<Resource>, Vec<&LogRecord>)> = Vec::new();
    for Queued { of, record } in batch {
        match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, of)) {
            Some((_, records)) => records.push(record),
            None => groups.push((of, vec![record])),
        }
    }
    groups.into_iter().map(|(of, records)| (&**of, records)).collect()
}

/// Sends what all parts measure, each `interval`, until `end`; then once more.
pub(crate) async fn metrics(
    mut post: Post,
    sources: Sources,
    interval: Duration,
    mut end: oneshot::Receiver<()>,
) {
    loop {
        let is_ending = tokio::select! {
            _ = &mut end => true,
            () = tokio::time::sleep(interval) => false,
        };
        let (all, now) = (sources.read(), now_nanos());
        for some in all.chunks(BATCH_PARTS_MAX) {
            post.send(&otlp::metrics(some, now)).await;
        }
        if is_ending {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_from_one_line() {
        let read = headers("api-key = secret,x=1,, nonsense,bad name=2");
        let names: Vec<_> = read.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["api-key", "x"]);
        assert_eq!(read[0].1, "secret");
    }
}
