//! Lines of logs on their way to the collector. Nothing here waits or reads a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::SpanContext;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::telemetry::Resource;

/// Lines that wait to be sent; one more is dropped and counted, so that a collector that is slow or
/// away costs a bounded amount of memory, and no guest waits for it.
///
/// *Source:* the default of `OTEL_BLRP_MAX_QUEUE_SIZE`.
pub const QUEUE_LINES_MAX: usize = 2048;

/// Which output a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// stdout.
    Stdout,
    /// stderr.
    Stderr,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogRecord {
    /// Nanoseconds since 1970.
    pub(crate) unix_nanos: u64,
    pub(crate) stream: Stream,
    /// OTLP's number for how much it matters, and the word.
    pub(crate) severity: Option<(u8, String)>,
    pub(crate) body: String,
    /// Trace and span, in hexadecimal.
    pub(crate) within: Option<(String, String)>,
}

/// A line, and whose it is.
pub(crate) struct Queued {
    pub(crate) of: Arc<Resource>,
    pub(crate) record: LogRecord,
}

/// Where lines are put in.
#[derive(Clone, Debug)]
pub(crate) struct LogQueue {
    sender: mpsc::Sender<Queued>,
    dropped: Arc<AtomicU64>,
}

impl LogQueue {
    /// Makes a queue, and its other end.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Queued>) {
        let (sender, receiver) = mpsc::channel(QUEUE_LINES_MAX);
        (Self { sender, dropped: Arc::default() }, receiver)
    }

    /// Lines that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Sends the lines of one part. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Logger {
    pub(crate) of: Arc<Resource>,
    pub(crate) queue: LogQueue,
}

impl Logger {
    /// Takes a line, without its end, that was written at so many nanoseconds since 1970, for a request
    /// if one is known. A line of JSON with a level and a message, or with a trace of its own, is taken
    /// apart, as `wasi:logging` writes them.
    pub fn line(&self, stream: Stream, unix_nanos: u64, line: &str, within: Option<&SpanContext>) {
        let said = if line.starts_with('{') { serde_json::from_str(line).ok() } else { None };
        let Said { level, message, trace_id, span_id } = said.unwrap_or_default();
        let own = trace_id.filter(|id| is_id(id, 32)).zip(span_id.filter(|id| is_id(id, 16)));
        let of_request = || {
            let span = within.filter(|span| span.is_valid())?;
            Some((span.trace_id().to_string(), span.span_id().to_string()))
        };
        let record = LogRecord {
            unix_nanos,
            stream,
            severity: level.and_then(|level| severity(&level).map(|number| (number, level))),
            body: message.unwrap_or_else(|| line.to_owned()),
            within: own.or_else(of_request),
        };
        if self.queue.sender.try_send(Queued { of: self.of.clone(), record }).is_err() {
            self.queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What is looked for in a line of JSON.
#[derive(Default, Deserialize)]
struct Said {
    level: Option<String>,
    message: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
}

fn is_id(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// OTLP's number for a level.
///
/// *Source:* OpenTelemetry's log data model, `SeverityNumber`.
fn severity(level: &str) -> Option<u8> {
    match level.to_ascii_lowercase().as_str() {
        "trace" => Some(1),
        "debug" => Some(5),
        "info" => Some(9),
        "warn" | "warning" => Some(13),
        "error" => Some(17),
        "critical" | "fatal" => Some(21),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, severity: Option<u8>, body: &str, is_within: bool) {
        let (queue, mut sent) = LogQueue::new();
        let logger = Logger { of: Arc::default(), queue };
        logger.line(Stream::Stdout, 7, line, None);
        let record = sent.try_recv().unwrap().record;
        assert_eq!(record.severity.as_ref().map(|(number, _)| *number), severity, "{line}");
        assert_eq!((record.body.as_str(), record.within.is_some()), (body, is_within), "{line}");
    }

    #[test]
    fn lines_of_json_are_taken_apart() {
        check("plain", None, "plain", false);
        check("{not json", None, "{not json", false);
        check(r#"{"level":"WARN","message":"old"}"#, Some(13), "old", false);
        check(r#"{"level":7}"#, None, r#"{"level":7}"#, false);
        check(r#"{"message":"m","level":"loud"}"#, None, "m", false);
        let ids = r#""trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331""#;
        check(&format!(r#"{{"level":"error","message":"m",{ids}}}"#), Some(17), "m", true);
        check(r#"{"message":"m","trace_id":"x","span_id":"y"}"#, None, "m", false);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (queue, _sent) = LogQueue::new();
        let logger = Logger { of: Arc::default(), queue: queue.clone() };
        for _ in 0..QUEUE_LINES_MAX + 3 {
            logger.line(Stream::Stderr, 0, "x", None);
        }
        assert_eq!(queue.dropped(), 3);
    }
}
