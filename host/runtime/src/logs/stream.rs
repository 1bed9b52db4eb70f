//! stdout and stderr of one instance, as wasmtime-wasi wants them: into the container's log, and to
//! whoever is attached.
//!
//! An edge: it reads the clock for the lines' times.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use coracle_telemetry::RequestId;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamError};

use super::cri::{Lines, Output};
use super::queue::Log;
use super::ship::{Shipper, Within};
use crate::stdio::Taps;

/// One output of one instance. Clones write to the same line.
#[derive(Clone)]
pub(crate) struct LogStream {
    shared: Arc<Shared>,
}

struct Shared {
    log: Option<Log>,
    taps: Arc<Taps>,
    output: Output,
    lines: Mutex<Lines>,
    shipper: Option<Shipper>,
    within: Option<Arc<Within>>,
}

impl LogStream {
    /// An output of a new instance of a container that logs to `log`, if at all, and to a collector, if
    /// one wants it; `within` says for which request it works.
    pub(crate) fn new(
        log: Option<&Log>,
        (taps, output): (&Arc<Taps>, Output),
        shipper: Option<Shipper>,
        within: Option<Arc<Within>>,
    ) -> Self {
        let lines = Mutex::new(Lines::new(output));
        let (log, taps) = (log.cloned(), taps.clone());
        Self { shared: Arc::new(Shared { log, taps, output, lines, shipper, within }) }
    }

    fn put(&self, bytes: &[u8]) {
        if let Some(log) = &self.shared.log {
            let (now, of) =
                (now(), self.shared.within.as_ref().and_then(|within| within.request()));
            let mut lines = self.shared.lines.lock();
            lines.of(of);
            log.put(|out| lines.take(bytes, now, out));
        }
        if let Some(shipper) = &self.shared.shipper {
            shipper.take(bytes, now());
        }
        self.shared.taps.put(self.shared.output, bytes);
    }

    /// Bytes that may be written now.
    fn room(&self) -> usize {
        let log = self.shared.log.as_ref().map_or(usize::MAX, Log::room);
        log.min(self.shared.taps.room(self.shared.output))
    }

    /// Resolves when there is room.
    async fn wait(&self) {
        if let Some(log) = &self.shared.log {
            log.ready().await;
        }
        self.shared.taps.ready(self.shared.output).await;
    }
}

/// Writes a line of the host's own into a log, as stderr.
pub(super) fn note(log: &Log, line: &str, of: Option<RequestId>) {
    let mut lines = Lines::new(Output::Stderr);
    lines.of(of);
    let now = now();
    log.put(|out| {
        lines.take(line.as_bytes(), now, out);
        if !lines.is_at_start() {
            lines.finish(now, out);
        }
    });
}

impl Drop for Shared {
    fn drop(&mut self) {
        let lines = self.lines.get_mut();
        if let Some(log) = self.log.as_ref().filter(|_| !lines.is_at_start()) {
            log.put(|out| lines.finish(now(), out));
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        self.shared.taps.is_terminal()
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(LogWriter { stream: self.clone(), wait: None })
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(self.room())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {
        self.wait().await;
    }
}

/// A [`LogStream`] that remembers whom to wake.
struct LogWriter {
    stream: LogStream,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl AsyncWrite for LogWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            if let Some(wait) = &mut this.wait {
                std::task::ready!(wait.as_mut().poll(cx));
                this.wait = None;
            }
            let room = this.stream.room();
            if room > 0 {
                let taken = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
                this.stream.put(taken);
                return Poll::Ready(Ok(taken.len()));
            }
            let stream = this.stream.clone();
            this.wait = Some(Box::pin(async move { stream.wait().await }));
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[expect(clippy::disallowed_methods, reason = "a log line carries the time it was written")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
