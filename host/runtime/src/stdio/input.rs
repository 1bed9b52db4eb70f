//! What a guest reads as its stdin.
//!
//! An edge: guests wait here for what people type.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use coracle_vnet::VStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, StreamError};

use super::pipe;

/// Most bytes of one read: what the host copies into the guest at once.
const READ_BYTES_MAX: usize = 64 << 10;

/// The input of one guest, which lives as long as the guest's container: clients come and go.
pub(crate) struct Input {
    far: VStream,
    near: VStream,
    /// The first client that leaves ends the input (`stdinOnce`).
    once: bool,
    /// Reads that wait for a byte now: how a terminal knows whether the guest is busy.
    waiting: AtomicUsize,
    /// Is notified of each read that begins to wait.
    asked: Notify,
}

impl Input {
    pub(crate) fn new(once: bool) -> Arc<Self> {
        let (far, near) = pipe();
        Arc::new(Self { far, near, once, waiting: AtomicUsize::new(0), asked: Notify::new() })
    }

    /// Says whether the guest waits for input.
    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Waits until the guest waits for input.
    pub(crate) async fn awaited(&self) {
        loop {
            let asked = self.asked.notified();
            if self.is_awaited() {
                return;
            }
            asked.await;
        }
    }

    /// Gives a guest that waits for a line an empty one: a shell shows its prompt anew.
    pub(crate) fn begin_anew(&self) -> io::Result<()> {
        self.write(Bytes::from_static(b"\n"))
    }

    /// Bytes that can be written now.
    pub(super) fn room(&self) -> io::Result<usize> {
        self.far.room()
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.far.poll_writable(cx)
    }

    pub(super) fn write(&self, bytes: Bytes) -> io::Result<()> {
        self.far.write(bytes)
    }

    /// Nothing follows.
    pub(super) fn finish(&self) {
        self.far.shutdown(std::net::Shutdown::Write);
    }

    /// A client's way to write.
    pub(crate) fn writer(self: &Arc<Self>) -> InputWriter {
        InputWriter { input: self.clone() }
    }

    fn read(&self, bytes_max: usize) -> Result<Bytes, StreamError> {
        match self.near.try_read(bytes_max.min(READ_BYTES_MAX)) {
            Ok(None) => Ok(Bytes::new()),
            Ok(Some(bytes)) if bytes.is_empty() => Err(StreamError::Closed),
            Ok(Some(bytes)) => Ok(bytes),
            Err(error) => Err(StreamError::LastOperationFailed(error.into())),
        }
    }

    async fn readable(&self) {
        let _waiting = Waiting::on(&self.waiting);
        self.asked.notify_waiters();
        std::future::poll_fn(|cx| self.near.poll_readable(cx)).await;
    }
}

/// Counts a read that waits, for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn on(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One client that writes; its end is the guest's end of input if the container says so.
pub(crate) struct InputWriter {
    input: Arc<Input>,
}

impl AsyncWrite for InputWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.input.poll_writable(cx));
        let length = self.input.room()?.min(bytes.len());
        let taken = bytes.get(..length).unwrap_or_default();
        self.input.write(Bytes::copy_from_slice(taken))?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.input.once {
            self.input.finish();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for InputWriter {
    fn drop(&mut self) {
        if self.input.once {
            self.input.finish();
        }
    }
}

/// The guest's side, as wasmtime-wasi wants it. Clones read from the same input.
#[derive(Clone)]
pub(crate) struct GuestInput {
    pub(crate) input: Arc<Input>,
    pub(crate) tty: bool,
}

impl IsTerminal for GuestInput {
    fn is_terminal(&self) -> bool {
        self.tty
    }
}

impl StdinStream for GuestInput {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for GuestInput {
    fn read(&mut self, bytes_max: usize) -> Result<Bytes, StreamError> {
        if bytes_max == 0 { Ok(Bytes::new()) } else { self.input.read(bytes_max) }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestInput {
    async fn ready(&mut self) {
        self.input.readable().await;
    }
}

impl AsyncRead for GuestInput {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.input.near.poll_readable(cx));
        if let Some(bytes) = self.input.near.try_read(buffer.remaining())? {
            buffer.put_slice(&bytes);
        }
        Poll::Ready(Ok(()))
    }
}
