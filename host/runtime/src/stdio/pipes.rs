//! An output that goes to one client through a bounded pipe.
//!
//! An edge: guests wait here for room.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use coracle_vnet::VStream;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamError};

use super::terminal;

/// One output of a command. Clones write to the same pipe, which ends with the last of them.
#[derive(Clone)]
pub(crate) struct PipeOutput {
    pub(crate) pipe: Arc<VStream>,
    pub(crate) tty: bool,
}

impl PipeOutput {
    /// Bytes that a guest may write now.
    fn room(&self) -> io::Result<usize> {
        let room = self.pipe.room()?;
        // At a terminal a line feed takes two.
        Ok(if self.tty { room.div_ceil(2) } else { room })
    }

    fn put(&self, bytes: Bytes) -> io::Result<()> {
        self.pipe.write(if self.tty { terminal::shown(&bytes) } else { bytes })
    }
}

impl IsTerminal for PipeOutput {
    fn is_terminal(&self) -> bool {
        self.tty
    }
}

impl StdoutStream for PipeOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// The client is gone: guests know that as `EPIPE`.
fn unwritable(_error: io::Error) -> StreamError {
    StreamError::Closed
}

impl OutputStream for PipeOutput {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.put(bytes).map_err(unwritable)
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        self.pipe.room().map(drop).map_err(unwritable)
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        self.room().map_err(unwritable)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for PipeOutput {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.pipe.poll_writable(cx)).await;
    }
}

impl AsyncWrite for PipeOutput {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.pipe.poll_writable(cx));
        let length = self.room()?.min(bytes.len());
        self.put(Bytes::copy_from_slice(bytes.get(..length).unwrap_or_default()))?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
