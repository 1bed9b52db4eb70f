//! A bounded, one-directional byte pipe inside the process.
//!
//! Large writes are queued as they come, without a copy; small ones are gathered at the end, so that
//! a guest that writes byte by byte cannot make the queue cost more than it holds. The writer parks
//! at [`PIPE_BYTES_MAX`] and is woken when half of it has been read. When the namespace that pays has
//! used up its budget, a pipe still holds [`PIPE_BYTES_MIN`], so that no connection starves.

use crate::budget::Budget;
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Most bytes that one direction of a connection holds, in bytes: as much as keeps two guests that
/// take turns busy, and small enough that thousands of stalled connections fit. The writer waits.
pub const PIPE_BYTES_MAX: usize = 256 * 1024;

/// What a pipe may hold whatever the budget says, in bytes.
const PIPE_BYTES_MIN: usize = 16 * 1024;

/// Writes shorter than this are copied to the tail instead of becoming a chunk of their own.
const CHUNK_BYTES_MIN: usize = 4 * 1024;

/// The tail becomes a chunk at this size.
const TAIL_BYTES_MAX: usize = 16 * 1024;

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    bytes: usize,
    /// Who pays for the bytes.
    budget: Option<Arc<Budget>>,
    /// The writer said that nothing follows.
    finished: bool,
    /// The reader is gone; writes fail.
    closed: bool,
    /// The reader wants no more; writes succeed and vanish.
    discarding: bool,
    /// The connection was cut: reads fail after what is queued, writes fail.
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Whoever wants to know that the reader is gone.
    watcher: Option<Waker>,
}

impl State {
    fn clear(&mut self) {
        self.chunks.clear();
        self.tail = BytesMut::new();
        self.shrink(self.bytes);
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        if let Some(budget) = &self.budget {
            budget.add(bytes);
        }
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some(budget) = &self.budget {
            budget.remove(bytes);
        }
    }

    /// How many more bytes may be queued.
    fn room(&self) -> usize {
        let left = self.budget.as_ref().map_or(usize::MAX, |budget| budget.left());
        let kept = PIPE_BYTES_MIN.saturating_sub(self.bytes);
        PIPE_BYTES_MAX.saturating_sub(self.bytes).min(left).max(kept)
    }

    fn take(&mut self, bytes_max: usize) -> Bytes {
        let Some(front) = self.chunks.front_mut() else {
            let length = self.tail.len().min(bytes_max);
            return self.tail.split_to(length).freeze();
        };
        if front.len() > bytes_max {
            return front.split_to(bytes_max);
        }
        self.chunks.pop_front().unwrap_or_default()
    }

    fn push(&mut self, data: Chunk<'_>) {
        self.grow(data.len());
        if data.len() < CHUNK_BYTES_MIN {
            self.tail.extend_from_slice(data.as_slice());
            if self.tail.len() >= TAIL_BYTES_MAX {
                self.chunks.push_back(self.tail.split().freeze());
            }
            return;
        }
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.chunks.push_back(data.into_bytes());
    }

    /// The writer, when a good part has been read since it parked.
    fn wake_writer(&mut self) -> Option<Waker> {
        let enough = self.bytes <= PIPE_BYTES_MIN / 2 || self.room() >= PIPE_BYTES_MAX / 2;
        if enough { self.writer.take() } else { None }
    }

    fn write_error(&self) -> Option<io::Error> {
        if self.reset {
            return Some(io::ErrorKind::ConnectionReset.into());
        }
        (self.closed || self.finished).then(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// Bytes on their way in: owned ones are queued, borrowed ones copied.
pub(crate) enum Chunk<'a> {
    Owned(Bytes),
    Borrowed(&'a [u8]),
}

impl Chunk<'_> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Owned(bytes) => bytes,
            Chunk::Borrowed(slice) => slice,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Chunk::Owned(bytes) => bytes,
            Chunk::Borrowed(slice) => Bytes::copy_from_slice(slice),
        }
    }
}

/// The pipe; both ends hold it.
#[derive(Default)]
pub(crate) struct Pipe(Mutex<State>);

fn park(slot: &mut Option<Waker>, context: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(context.waker()) => {}
        Some(_) | None => *slot = Some(context.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Pipe {
    /// Names who pays: the namespace that sends, else the one that receives.
    pub(crate) fn pay_from(&self, budget: &Arc<Budget>, sends: bool) {
        let mut state = self.0.lock();
        if !sends && state.budget.is_some() {
            return;
        }
        let bytes = state.bytes;
        budget.add(bytes);
        if let Some(before) = state.budget.replace(budget.clone()) {
            before.remove(bytes);
        }
    }

    /// Takes up to `bytes_max` bytes; `None` when there is nothing yet, empty at the end.
    pub(crate) fn try_read(&self, bytes_max: usize) -> io::Result<Option<Bytes>> {
        let (data, waker) = {
            let mut state = self.0.lock();
            if let Some(end) = Self::end(&state) {
                return end.map(|ended| ended.then(Bytes::new));
            }
            let data = state.take(bytes_max);
            state.shrink(data.len());
            (data, state.wake_writer())
        };
        wake(waker);
        Ok(Some(data))
    }

    /// Copies into `target` as much as there is; `None` when there is nothing yet, 0 at the end.
    pub(crate) fn try_read_into(&self, target: &mut [u8]) -> io::Result<Option<usize>> {
        let (length, waker) = {
            let mut state = self.0.lock();
            if let Some(end) = Self::end(&state) {
                return end.map(|ended| ended.then_some(0));
            }
            let mut length = 0;
            while length < target.len() && state.bytes > 0 {
                let mut data = state.take(target.len() - length);
                let end = length + data.len();
                state.shrink(data.len());
                data.copy_to_slice(&mut target[length..end]);
                length = end;
            }
            (length, state.wake_writer())
        };
        wake(waker);
        Ok(Some(length))
    }

    /// What an empty pipe answers: an error, the end (`true`) or "not yet" (`false`).
    fn end(state: &State) -> Option<io::Result<bool>> {
        if state.bytes > 0 {
            return None;
        }
        if state.reset {
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Some(Ok(state.finished || state.discarding))
    }

    /// Ready when a read gives bytes, the end or an error.
    pub(crate) fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.bytes > 0 || state.finished || state.discarding || state.reset {
            return Poll::Ready(());
        }
        park(&mut state.reader, context);
        Poll::Pending
    }

    /// How many bytes may be written now.
    pub(crate) fn room(&self) -> io::Result<usize> {
        let state = self.0.lock();
        match state.write_error() {
            Some(error) => Err(error),
            None => Ok(state.room()),
        }
    }

    /// Queues all of `data`; the caller keeps to [`Pipe::room`].
    pub(crate) fn write(&self, data: Chunk<'_>) -> io::Result<()> {
        let waker = {
            let mut state = self.0.lock();
            if let Some(error) = state.write_error() {
                return Err(error);
            }
            if state.discarding || data.len() == 0 {
                return Ok(());
            }
            state.push(data);
            state.reader.take()
        };
        wake(waker);
        Ok(())
    }

    /// Ready when a write would take bytes or fail.
    pub(crate) fn poll_writable(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.room() > 0 || state.write_error().is_some() {
            return Poll::Ready(());
        }
        park(&mut state.writer, context);
        Poll::Pending
    }

    /// Ready when nobody reads any more: the reader is gone, or the connection was cut.
    pub(crate) fn poll_gone(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.closed || state.reset {
            return Poll::Ready(());
        }
        park(&mut state.watcher, context);
        Poll::Pending
    }

    /// The writer's last word: the reader meets the end after what is queued.
    pub(crate) fn finish(&self) {
        self.change(|state| state.finished = true);
    }

    /// The reader's last word: what is queued and what follows is thrown away.
    pub(crate) fn discard(&self) {
        self.change(|state| {
            state.discarding = true;
            state.clear();
        });
    }

    /// The reader is gone. Says whether it left bytes unread.
    pub(crate) fn close(&self) -> bool {
        let mut unread = false;
        self.change(|state| {
            unread = state.bytes > 0;
            state.closed = true;
            state.clear();
        });
        unread
    }

    /// Cuts the pipe; what is queued may still be read.
    pub(crate) fn reset(&self) {
        self.change(|state| state.reset = true);
    }

    /// Cuts the pipe and drops what is queued.
    pub(crate) fn reset_now(&self) {
        self.change(|state| {
            state.reset = true;
            state.clear();
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.0.lock();
            change(&mut state);
            [state.reader.take(), state.writer.take(), state.watcher.take()]
        };
        wakers.into_iter().for_each(wake);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.get_mut().clear();
    }
}
