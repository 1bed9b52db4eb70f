//! stdout and stderr of one instance, as wasmtime-wasi wants them.
//!
//! An edge: it reads the clock for the lines' times.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamError};

use super::cri::{Lines, Output};
use super::queue::Log;

/// Where one instance's output goes.
pub(crate) enum GuestOutput {
    /// Nowhere.
    None,
    /// Into a log: stdout, then stderr.
    Log(LogStream, LogStream),
}

impl GuestOutput {
    /// The outputs of a new instance of a container that logs to `log`.
    pub(crate) fn of(log: Option<&Log>) -> Self {
        match log {
            Some(log) => {
                Self::Log(LogStream::new(log, Output::Stdout), LogStream::new(log, Output::Stderr))
            }
            None => Self::None,
        }
    }
}

/// One output of one instance. Clones write to the same line.
#[derive(Clone)]
pub(crate) struct LogStream {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    lines: Mutex<Lines>,
}

impl LogStream {
    fn new(log: &Log, output: Output) -> Self {
        let lines = Mutex::new(Lines::new(output));
        Self { shared: Arc::new(Shared { log: log.clone(), lines }) }
    }

    /// A stream of its own for lines of the host.
    pub(super) fn stderr(log: &Log) -> Self {
        Self::new(log, Output::Stderr)
    }

    pub(super) fn put(&self, bytes: &[u8]) {
        let now = now();
        let mut lines = self.shared.lines.lock();
        self.shared.log.put(|out| lines.take(bytes, now, out));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let lines = self.lines.get_mut();
        if !lines.is_at_start() {
            self.log.put(|out| lines.finish(now(), out));
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
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
        Ok(self.shared.log.room())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {
        self.shared.log.ready().await;
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
            let room = this.stream.shared.log.room();
            if room > 0 {
                let taken = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
                this.stream.put(taken);
                return Poll::Ready(Ok(taken.len()));
            }
            let log = this.stream.shared.log.clone();
            this.wait = Some(Box::pin(async move { log.ready().await }));
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
