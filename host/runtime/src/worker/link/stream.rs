//! One stream of a link: bytes both ways, each with a window that the reader opens.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{FRAME_BYTES_MAX, Frame, Link};

/// Bytes of one direction that may be on their way: the other side has room for all of them, so that
/// no stream ever waits for another one's reader.
pub(crate) const WINDOW_BYTES: usize = 64 << 10;

/// What dropping a stream means that has not ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It was cut.
    Cut,
    /// What was written is all there is.
    Ended,
}

/// What the link and the stream's owner share.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    /// The other side has written all.
    is_ended: bool,
    /// The other side, or the link, is gone.
    is_cut: bool,
    /// Bytes that the other side takes now.
    credit: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            is_ended: false,
            is_cut: false,
            credit: WINDOW_BYTES,
            reader: None,
            writer: None,
        }
    }
}

impl Shared {
    /// Takes what came in; `false` when it is more than the window.
    pub(super) fn push(&self, bytes: Bytes) -> bool {
        let mut state = self.state.lock();
        state.queued_bytes += bytes.len();
        if state.queued_bytes > WINDOW_BYTES {
            return false;
        }
        state.queue.push_back(bytes);
        wake(&mut state.reader);
        true
    }

    /// The other side read so many bytes; `false` when they are more than it was sent.
    pub(super) fn credit(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        state.credit = state.credit.saturating_add(bytes);
        wake(&mut state.writer);
        state.credit <= WINDOW_BYTES
    }

    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.is_ended = true;
        wake(&mut state.reader);
    }

    pub(super) fn cut(&self) {
        let mut state = self.state.lock();
        state.is_cut = true;
        wake(&mut state.reader);
        wake(&mut state.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// One end of a stream. One task may read while another writes.
pub(crate) struct LinkStream {
    id: u32,
    link: Arc<Link>,
    shared: Arc<Shared>,
    dropped: Dropped,
    /// Bytes that were read and not told yet.
    read: usize,
    has_finished: bool,
}

impl LinkStream {
    pub(super) fn new(id: u32, link: Arc<Link>, shared: Arc<Shared>) -> Self {
        Self { id, link, shared, dropped: Dropped::Cut, read: 0, has_finished: false }
    }

    /// By which the other side knows it.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Says what dropping it means.
    pub(crate) fn when_dropped(mut self, dropped: Dropped) -> Self {
        self.dropped = dropped;
        self
    }

    fn finish(&mut self) {
        if !self.has_finished {
            self.has_finished = true;
            self.link.put(Frame::Finish, self.id, &[]);
        }
    }

    /// Tells the other side of what was read, when it is enough to be worth a packet.
    fn open_window(&mut self, bytes: usize) {
        self.read += bytes;
        if self.read >= WINDOW_BYTES / 2 {
            let read = u32::try_from(self.read).unwrap_or(u32::MAX);
            self.link.put(Frame::Credit, self.id, &read.to_le_bytes());
            self.read = 0;
        }
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let taken = {
            let mut state = self.shared.state.lock();
            let Some(mut front) = state.queue.pop_front() else {
                if state.is_ended || buffer.remaining() == 0 {
                    return Poll::Ready(Ok(()));
                }
                if state.is_cut {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                state.reader = Some(context.waker().clone());
                return Poll::Pending;
            };
            let taken = front.len().min(buffer.remaining());
            buffer.put_slice(&front.split_to(taken));
            if front.has_remaining() {
                state.queue.push_front(front);
            }
            state.queued_bytes -= taken;
            taken
        };
        self.open_window(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = {
            let mut state = self.shared.state.lock();
            if state.is_cut || self.has_finished {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if state.credit == 0 && !bytes.is_empty() {
                state.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            let taken = bytes.len().min(state.credit).min(FRAME_BYTES_MAX);
            state.credit -= taken;
            taken
        };
        if taken > 0 {
            self.link.put(Frame::Data, self.id, bytes.get(..taken).unwrap_or_default());
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        let (has_ended, is_cut) = {
            let state = self.shared.state.lock();
            (state.is_ended && state.queue.is_empty(), state.is_cut)
        };
        self.link.forget(self.id);
        if is_cut {
            return;
        }
        if has_ended || self.dropped == Dropped::Ended {
            self.finish();
        } else {
            self.link.put(Frame::Cut, self.id, &[]);
        }
    }
}
