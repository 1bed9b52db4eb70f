//! Values on their way: what a guest writes into an object, and what it reads of one.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, OutputStream, StreamError};

use super::shelf::{self, Said, Spool};
use crate::mounts::{FileHandle, Tree};
use crate::wasi::kept;

/// Bytes that are read or written at once.
const PART_BYTES: usize = 64 << 10;

/// Bytes of a value that is given as a whole, which the host holds meanwhile; what is larger is read
/// as a stream.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// A value that a guest writes: spooled beside the containers, and given its name at the end.
#[derive(Default)]
pub(super) struct Outgoing {
    begun: Option<Begun>,
    /// Where it goes.
    pub(super) target: Option<String>,
}

struct Begun {
    tree: Arc<Tree>,
    path: String,
    spool: Arc<Mutex<Spool>>,
}

impl Outgoing {
    /// Makes its file. Only once.
    pub(super) fn begin(&mut self, tree: &Arc<Tree>) -> Said<Arc<Mutex<Spool>>> {
        if self.begun.is_some() {
            return Err("its body was taken already".to_owned());
        }
        let (path, file) = shelf::spool(tree)?;
        let spool = Spool::new(file);
        self.begun = Some(Begun { tree: tree.clone(), path, spool: spool.clone() });
        Ok(spool)
    }

    /// Puts what was written in the object's place; without a body it is empty.
    pub(super) fn finish(mut self, tree: &Arc<Tree>) -> Said<()> {
        if self.begun.is_none() {
            self.begin(tree)?;
        }
        let (Some(begun), Some(target)) = (&self.begun, &self.target) else {
            return Err("write-data was not called with this value".to_owned());
        };
        begun.spool.lock().close()?;
        let root = tree.root();
        tree.rename(&root, &begun.path, &root, target).map_err(kept::said)?;
        self.begun = None;
        Ok(())
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(begun) = &self.begun {
            begun.spool.lock().is_open = false;
            // What cannot be removed now is used again for another value.
            let _ = begun.tree.unlink(&begun.tree.root(), &begun.path);
        }
    }
}

/// The body of an outgoing value.
pub(super) struct Body(pub(super) Arc<Mutex<Spool>>);

impl OutputStream for Body {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let mut spool = self.0.lock();
        if !spool.is_open {
            return Err(StreamError::Closed);
        }
        let failed = |words| StreamError::LastOperationFailed(wasmtime::Error::msg(words));
        spool.write(&bytes).map_err(failed)
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        if self.0.lock().is_open { Ok(PART_BYTES) } else { Err(StreamError::Closed) }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Body {
    async fn ready(&mut self) {}
}

/// A part of an object, to be read; it stays what it was when the object is removed or replaced.
pub(super) struct Incoming {
    file: FileHandle,
    at: u64,
    end: u64,
}

impl Incoming {
    /// The bytes from `start` to `last`, both of them included, as far as there are any.
    pub(super) fn new(file: FileHandle, start: u64, last: u64) -> Said<Self> {
        let size = file.stat().map_err(kept::said)?.size;
        let end = last.saturating_add(1).min(size);
        Ok(Self { file, at: start.min(end), end })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.end - self.at
    }

    /// Reads it whole.
    pub(super) fn whole(mut self) -> Said<Vec<u8>> {
        if self.bytes() > WHOLE_BYTES_MAX {
            return Err(format!(
                "it has more than {WHOLE_BYTES_MAX} bytes: read it with \
                 incoming-value-consume-async, or in parts"
            ));
        }
        let mut whole = Vec::new();
        while let Some(part) = self.part(PART_BYTES)? {
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }

    fn part(&mut self, bytes_max: usize) -> Said<Option<Bytes>> {
        let left = usize::try_from(self.bytes()).unwrap_or(usize::MAX);
        let wanted = left.min(bytes_max).min(PART_BYTES);
        if left == 0 {
            return Ok(None);
        }
        let part = self.file.read(wanted, self.at).map_err(kept::said)?;
        self.at += part.len() as u64;
        // A file of the volume that somebody cut meanwhile has no more.
        Ok(Some(part).filter(|part| wanted == 0 || !part.is_empty()))
    }
}

impl InputStream for Incoming {
    fn read(&mut self, size: usize) -> Result<Bytes, StreamError> {
        let failed = |words| StreamError::LastOperationFailed(wasmtime::Error::msg(words));
        self.part(size).map_err(failed)?.ok_or(StreamError::Closed)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {}
}
