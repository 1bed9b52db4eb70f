//! Lines of guests on their way to a collector, beside the log.
//!
//! A line is what ends with a line feed, as in the log; it belongs to the request that its instance
//! works on.

use std::sync::Arc;

use coracle_telemetry::{Logger, RequestId, SpanContext, Stream};
use parking_lot::Mutex;

use super::cri::{LINE_BYTES_MAX, Output};

/// In which span and for which request an instance works; its outputs ask when a line ends.
#[derive(Debug, Default)]
pub(crate) struct Within(Mutex<(Option<SpanContext>, Option<RequestId>)>);

impl Within {
    /// Says for what it works from now on.
    pub(crate) fn set(&self, span: Option<SpanContext>, request: Option<RequestId>) {
        *self.0.lock() = (span, request);
    }

    /// The request that it works for.
    pub(super) fn request(&self) -> Option<RequestId> {
        self.0.lock().1.clone()
    }
}

/// One output of one instance.
pub(crate) struct Shipper {
    logger: Logger,
    stream: Stream,
    within: Arc<Within>,
    /// The beginning of a line whose end has not come, with the time of its last piece.
    rest: Mutex<(Vec<u8>, u64)>,
}

impl Shipper {
    pub(crate) fn new(logger: Logger, output: Output, within: Arc<Within>) -> Self {
        let stream = match output {
            Output::Stdout => Stream::Stdout,
            Output::Stderr => Stream::Stderr,
        };
        Self { logger, stream, within, rest: Mutex::default() }
    }

    /// Takes what was written; lines that it completes are sent, and so are parts of those that are too
    /// long.
    pub(super) fn take(&self, bytes: &[u8], now: jiff::Timestamp) {
        let now = nanos(now);
        let mut held = self.rest.lock();
        let (rest, at) = &mut *held;
        *at = now;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            rest.extend_from_slice(piece);
            while rest.len() > LINE_BYTES_MAX {
                let tail = rest.split_off(LINE_BYTES_MAX);
                self.send(&std::mem::replace(rest, tail), now);
            }
            if rest.last() == Some(&b'\n') {
                rest.pop();
                self.send(&std::mem::take(rest), now);
            }
        }
    }

    fn send(&self, line: &[u8], at: u64) {
        let within = self.within.0.lock();
        self.logger.line(self.stream, at, &String::from_utf8_lossy(line), within.0.as_ref());
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        let (rest, at) = std::mem::take(self.rest.get_mut());
        if !rest.is_empty() {
            self.send(&rest, at);
        }
    }
}

/// Sends lines of a log as they are in its file.
pub(crate) fn ship_written(logger: &Logger, lines: &[u8]) {
    for line in String::from_utf8_lossy(lines).lines() {
        let mut parts = line.splitn(4, ' ');
        let (time, stream) = (parts.next(), parts.next());
        let (Some(time), Some(text)) = (time, parts.nth(1)) else { continue };
        let stream = if stream == Some("stderr") { Stream::Stderr } else { Stream::Stdout };
        let Ok(time) = time.parse::<jiff::Timestamp>() else { continue };
        logger.line(stream, nanos(time), text, None);
    }
}

fn nanos(time: jiff::Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}
