//! The byte streams of a connection.

use crate::stdio::Interrupts;
use bytes::Bytes;
use coracle_vnet::VStream;
use std::io;
use std::sync::Arc;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

/// Most bytes of one read, in bytes: what the host copies into the guest at once.
const READ_BYTES_MAX: usize = 64 * 1024;

struct Input {
    stream: Arc<VStream>,
    ended: bool,
    interrupts: Interrupts,
}

/// Room that is shown once after the peer has gone: the next write finds out.
const ROOM_AFTER_END_BYTES: usize = 4096;

struct Output {
    stream: Arc<VStream>,
    /// The last write was taken, and nothing was asked since.
    took: bool,
    interrupts: Interrupts,
}

/// What a guest is told of a stream for which it was not to wait any longer.
fn interrupted() -> StreamError {
    StreamError::LastOperationFailed(io::Error::from(io::ErrorKind::Interrupted).into())
}

impl Output {
    /// How much may be written. A peer that took everything, answered and closed at once has taken
    /// what was written before: as with TCP, its end shows at the next write, not at the flush of
    /// this one.
    fn room(&mut self) -> StreamResult<usize> {
        match self.stream.room() {
            Ok(0) if self.interrupts.is_there() => Err(interrupted()),
            Ok(bytes) => Ok(bytes),
            Err(_) if std::mem::take(&mut self.took) => Ok(ROOM_AFTER_END_BYTES),
            Err(error) => Err(unwritable(error)),
        }
    }
}

/// Both directions of a connection. Neither closes it: the socket does, when all are dropped.
pub(super) fn pair(
    stream: Arc<VStream>,
    interrupts: &Interrupts,
) -> (DynInputStream, DynOutputStream) {
    let output = Output { stream: stream.clone(), took: false, interrupts: interrupts.clone() };
    (Box::new(Input { stream, ended: false, interrupts: interrupts.clone() }), Box::new(output))
}

/// Writing to what is closed or cut: guests know "closed" as `EPIPE`.
fn unwritable(_error: io::Error) -> StreamError {
    StreamError::Closed
}

#[wasmtime_wasi::async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.ended {
            return Err(StreamError::Closed);
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        match self.stream.try_read(size.min(READ_BYTES_MAX)) {
            Ok(None) if self.interrupts.is_there() => Err(interrupted()),
            Ok(None) => Ok(Bytes::new()),
            Ok(Some(data)) if data.is_empty() => {
                self.ended = true;
                Err(StreamError::Closed)
            }
            Ok(Some(data)) => Ok(data),
            Err(error) => {
                self.ended = true;
                Err(StreamError::LastOperationFailed(error.into()))
            }
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        if !self.ended {
            let readable = std::future::poll_fn(|context| self.stream.poll_readable(context));
            self.interrupts.or(readable).await;
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        self.took = false;
        self.stream.write(data).map_err(unwritable)?;
        self.took = true;
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        if self.took {
            return Ok(());
        }
        self.room().map(|_| ())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.room()
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        let writable = std::future::poll_fn(|context| self.stream.poll_writable(context));
        self.interrupts.or(writable).await;
    }
}
