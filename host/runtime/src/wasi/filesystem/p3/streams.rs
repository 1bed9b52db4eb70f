//! The byte streams of a file, and the entries of a directory. All act within the call.

use super::types::{DirectoryEntry, ErrorCode};
use super::{convert, error};
use crate::mounts::{FileHandle, Listing};
use bytes::Bytes;
use rustix::io::Errno;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Destination, Source, StreamConsumer, StreamProducer, StreamResult, VecBuffer,
};

/// Most bytes of one read, in bytes: held in memory until the guest has them.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of one write, in bytes: nothing else runs on this thread meanwhile.
const WRITE_BYTES_MAX: usize = 256 * 1024;

/// Entries that are handed to the guest at once when it does not say how many it wants.
const ENTRIES_MAX: usize = 256;

/// How a stream ended; told once.
pub(super) type Told = oneshot::Sender<Result<(), ErrorCode>>;

/// Tells how a stream ended, unless it was told.
fn end(told: &mut Option<Told>, how: Result<(), Errno>) -> StreamResult {
    if let Some(told) = told.take() {
        // Nobody need want to know.
        let _ = told.send(how.map_err(error::code));
    }
    StreamResult::Dropped
}

/// A file's bytes from an offset on, to its end.
pub(super) struct Reading {
    file: FileHandle,
    offset: u64,
    told: Option<Told>,
}

impl Reading {
    pub(super) fn new(file: FileHandle, offset: u64, told: Told) -> Reading {
        Reading { file, offset, told: Some(told) }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        end(&mut self.told, Ok(()));
    }
}

impl<D> StreamProducer<D> for Reading {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, u8, Bytes>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        let wanted = destination.remaining(&mut store).unwrap_or(READ_BYTES_MAX);
        if wanted == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let result = match this.file.read(wanted.min(READ_BYTES_MAX), this.offset) {
            Ok(data) if data.is_empty() => end(&mut this.told, Ok(())),
            Ok(data) => {
                this.offset = this.offset.saturating_add(data.len() as u64);
                destination.set_buffer(data);
                StreamResult::Completed
            }
            Err(errno) => end(&mut this.told, Err(errno)),
        };
        Poll::Ready(Ok(result))
    }
}

/// Bytes for a file.
pub(super) struct Writing {
    file: FileHandle,
    /// Where the next byte goes; `None` for the end of the file.
    offset: Option<u64>,
    told: Option<Told>,
}

impl Writing {
    pub(super) fn new(file: FileHandle, offset: Option<u64>, told: Told) -> Writing {
        Writing { file, offset, told: Some(told) }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        end(&mut self.told, Ok(()));
    }
}

impl<D> StreamConsumer<D> for Writing {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        let mut source = source.as_direct(store);
        let data = source.remaining();
        let piece = data.get(..WRITE_BYTES_MAX).unwrap_or(data);
        let length = piece.len();
        let written = if length == 0 { Ok(()) } else { this.file.write(piece, this.offset) };
        let result = match written {
            Ok(()) => {
                this.offset = this.offset.map(|offset| offset.saturating_add(length as u64));
                source.mark_read(length);
                StreamResult::Completed
            }
            Err(errno) => end(&mut this.told, Err(errno)),
        };
        Poll::Ready(Ok(result))
    }
}

/// What is left of a listing that was taken at once.
pub(super) struct Listed(Listing);

impl Listed {
    pub(super) fn new(listing: Listing) -> Listed {
        Listed(listing)
    }
}

impl<D> StreamProducer<D> for Listed {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let wanted = destination.remaining(&mut store).unwrap_or(ENTRIES_MAX).min(ENTRIES_MAX);
        if wanted == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let listing = &mut self.get_mut().0;
        let entries: Vec<_> = listing.take(wanted).map(convert::directory_entry).collect();
        if entries.is_empty() {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        destination.set_buffer(entries.into());
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
