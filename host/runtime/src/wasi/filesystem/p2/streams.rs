//! The byte streams of a file. Reads and writes act within the call.

use crate::mounts::FileHandle;
use bytes::Bytes;
use rustix::io::Errno;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

/// Most bytes of one read, in bytes: held in memory until the guest has them.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of one write, in bytes.
const WRITE_BYTES_MAX: usize = 256 * 1024;

struct Input {
    file: FileHandle,
    offset: u64,
}

struct Output {
    file: FileHandle,
    /// Where the next byte goes; `None` for the end of the file.
    offset: Option<u64>,
    failed: bool,
}

pub(super) fn input(file: FileHandle, offset: u64) -> DynInputStream {
    Box::new(Input { file, offset })
}

pub(super) fn output(file: FileHandle, offset: Option<u64>) -> DynOutputStream {
    Box::new(Output { file, offset, failed: false })
}

fn failed(errno: Errno) -> StreamError {
    StreamError::LastOperationFailed(std::io::Error::from(errno).into())
}

#[wasmtime_wasi::async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let data = self.file.read(size.min(READ_BYTES_MAX), self.offset).map_err(failed)?;
        if data.is_empty() {
            return Err(StreamError::Closed);
        }
        self.offset += data.len() as u64;
        Ok(data)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        if self.failed {
            return Err(StreamError::Closed);
        }
        match self.file.write(&data, self.offset) {
            Ok(()) => {
                self.offset = self.offset.map(|offset| offset + data.len() as u64);
                Ok(())
            }
            Err(errno) => {
                self.failed = true;
                Err(failed(errno))
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        if self.failed { Err(StreamError::Closed) } else { Ok(()) }
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.failed { Err(StreamError::Closed) } else { Ok(WRITE_BYTES_MAX) }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}
