//! The byte streams of a connection.

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
}

struct Output(Arc<VStream>);

/// Both directions of a connection. Neither closes it: the socket does, when all are dropped.
pub(super) fn pair(stream: Arc<VStream>) -> (DynInputStream, DynOutputStream) {
    (Box::new(Input { stream: stream.clone(), ended: false }), Box::new(Output(stream)))
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
            std::future::poll_fn(|context| self.stream.poll_readable(context)).await;
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        self.0.write(data).map_err(unwritable)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.0.room().map(|_| ()).map_err(unwritable)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.room().map_err(unwritable)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.0.poll_writable(context)).await;
    }
}
