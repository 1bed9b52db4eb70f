//! What a guest reads as its stdin.
//!
//! An edge: guests wait here for what people type.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, StreamError};

use crate::meter;

/// Most bytes of one read: what the host copies into the guest at once.
const READ_BYTES_MAX: usize = 64 << 10;

/// Bytes that wait for the guest; whoever types more waits. One line more may come at a terminal.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// How long a guest that takes interrupts itself may leave one be before the next one ends it.
const HEEDED_WITHIN: Duration = Duration::from_secs(1);

/// What waits for the guest.
#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// Bytes in the pieces; an end counts as one.
    held: usize,
    /// Nothing follows.
    is_finished: bool,
    /// Since when an interrupt waits for a guest that takes it itself.
    interrupted: Option<Instant>,
    readers: Vec<Waker>,
    writers: Vec<Waker>,
}

enum Piece {
    Bytes(Bytes),
    /// One read meets the end of input; what follows is read after it.
    End,
}

impl Queue {
    fn is_readable(&self) -> bool {
        self.is_finished || self.interrupted.is_some() || !self.pieces.is_empty()
    }

    fn put(&mut self, piece: Piece) {
        self.held += match &piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::End => 1,
        };
        self.pieces.push_back(piece);
        wake(&mut self.readers);
    }

    /// At most so many bytes; empty ones are the end of input, `None` is that there is nothing yet.
    fn take(&mut self, bytes_max: usize) -> Option<Bytes> {
        if self.interrupted.is_some() {
            return Some(Bytes::new());
        }
        let taken = match self.pieces.pop_front() {
            Some(Piece::Bytes(mut bytes)) => {
                let taken = bytes.split_to(bytes.len().min(bytes_max));
                if !bytes.is_empty() {
                    self.pieces.push_front(Piece::Bytes(bytes));
                }
                self.held -= taken.len();
                taken
            }
            Some(Piece::End) => {
                self.held -= 1;
                Bytes::new()
            }
            None if self.is_finished => Bytes::new(),
            None => return None,
        };
        wake(&mut self.writers);
        Some(taken)
    }
}

fn wake(waiting: &mut Vec<Waker>) {
    waiting.drain(..).for_each(Waker::wake);
}

fn wait(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}

/// The input of one guest, which lives as long as the guest's container: clients come and go.
pub(crate) struct Input {
    queue: Mutex<Queue>,
    /// The first client that leaves ends the input (`stdinOnce`).
    once: bool,
    /// Reads that wait for a byte now: how a terminal knows whether the guest is busy.
    waiting: AtomicUsize,
    /// Is notified of each read that begins to wait.
    asked: Notify,
    /// Is notified of each interrupt that is typed.
    pub(super) interrupts: Notify,
}

impl Input {
    pub(crate) fn new(once: bool) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            once,
            waiting: AtomicUsize::new(0),
            asked: Notify::new(),
            interrupts: Notify::new(),
        })
    }

    /// Says whether the guest waits for input.
    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Waits until the guest waits for input.
    pub(super) async fn awaited(&self) {
        loop {
            let asked = self.asked.notified();
            if self.is_awaited() {
                return;
            }
            asked.await;
        }
    }

    /// Forgets what the guest has not read.
    pub(super) fn forget(&self) {
        let mut queue = self.queue.lock();
        queue.pieces.clear();
        queue.held = 0;
        wake(&mut queue.writers);
    }

    /// Tells a guest that takes interrupts itself of one: a read that waits meets the end of input. Gives whether it has
    /// taken those before, or had no time to.
    pub(super) fn interrupt(&self) -> bool {
        let mut queue = self.queue.lock();
        let now = meter::now();
        let since = *queue.interrupted.get_or_insert(now);
        wake(&mut queue.readers);
        now.saturating_duration_since(since) < HEEDED_WITHIN
    }

    /// Says whether there was an interrupt since this was asked last.
    pub(crate) fn take_interrupt(&self) -> bool {
        self.queue.lock().interrupted.take().is_some()
    }

    /// Says the same, and leaves it for when this is asked.
    pub(super) fn is_interrupted(&self) -> bool {
        self.queue.lock().interrupted.is_some()
    }

    /// Ready when there is an interrupt.
    pub(super) fn poll_interrupted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if queue.interrupted.is_some() {
            return Poll::Ready(());
        }
        wait(&mut queue.readers, cx.waker());
        Poll::Pending
    }

    /// Waits for room.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if queue.is_finished || queue.held < WAITING_BYTES_MAX {
            return Poll::Ready(());
        }
        wait(&mut queue.writers, cx.waker());
        Poll::Pending
    }

    /// Bytes that can be written now.
    pub(super) fn room(&self) -> usize {
        WAITING_BYTES_MAX.saturating_sub(self.queue.lock().held)
    }

    /// Writes all of them, which are not many more than there is room for.
    pub(super) fn write(&self, bytes: Bytes) -> io::Result<()> {
        let mut queue = self.queue.lock();
        if queue.is_finished {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !bytes.is_empty() {
            queue.put(Piece::Bytes(bytes));
        }
        Ok(())
    }

    /// Lets one read meet the end of input: what a person says at a terminal, who may go on typing.
    pub(super) fn end_once(&self) {
        self.queue.lock().put(Piece::End);
    }

    /// Nothing follows.
    pub(super) fn finish(&self) {
        let mut queue = self.queue.lock();
        queue.is_finished = true;
        wake(&mut queue.readers);
        wake(&mut queue.writers);
    }

    /// A client has left.
    pub(super) fn left(&self) {
        if self.once {
            self.finish();
        }
    }

    /// A client's way to write.
    pub(crate) fn writer(self: &Arc<Self>) -> InputWriter {
        InputWriter { input: self.clone() }
    }

    fn read(&self, bytes_max: usize) -> Result<Bytes, StreamError> {
        match self.queue.lock().take(bytes_max.min(READ_BYTES_MAX)) {
            None => Ok(Bytes::new()),
            Some(bytes) if bytes.is_empty() => Err(StreamError::Closed),
            Some(bytes) => Ok(bytes),
        }
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if queue.is_readable() {
            return Poll::Ready(());
        }
        wait(&mut queue.readers, cx.waker());
        Poll::Pending
    }

    async fn readable(&self) {
        let _waiting = Waiting::on(&self.waiting);
        self.asked.notify_waiters();
        std::future::poll_fn(|cx| self.poll_readable(cx)).await;
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
        // Another client may have filled the queue meanwhile; to take nothing would be an end.
        let length = self.input.room().max(1).min(bytes.len());
        let taken = bytes.get(..length).unwrap_or_default();
        self.input.write(Bytes::copy_from_slice(taken))?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.left();
        Poll::Ready(Ok(()))
    }
}

impl Drop for InputWriter {
    fn drop(&mut self) {
        self.input.left();
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
        let mut queue = self.input.queue.lock();
        match queue.take(buffer.remaining().min(READ_BYTES_MAX)) {
            Some(bytes) => {
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            None => {
                wait(&mut queue.readers, cx.waker());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &Input) -> String {
        match input.read(100) {
            Ok(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Err(error) => format!("{error:?}"),
        }
    }

    fn type_in(input: &Input, text: &'static str) {
        input.write(Bytes::from_static(text.as_bytes())).unwrap();
    }

    #[test]
    fn one_end_of_input_is_met_by_one_read() {
        let input = Input::new(true);
        type_in(&input, "abc");
        input.end_once();
        type_in(&input, "more");
        input.left();
        let reads: Vec<String> = (0..5).map(|_| read(&input)).collect();
        assert_eq!(reads, ["abc", "Closed", "more", "Closed", "Closed"]);
        assert!(input.write(Bytes::from_static(b"late")).is_err());
    }

    #[test]
    fn an_interrupt_is_met_by_reads_until_it_is_taken_and_what_was_typed_before_is_forgotten() {
        let input = Input::new(false);
        type_in(&input, "abc");
        assert!(!input.take_interrupt());
        input.forget();
        assert!(input.interrupt());
        type_in(&input, "more");
        assert_eq!([read(&input), read(&input)], ["Closed", "Closed"]);
        assert!(input.take_interrupt() && !input.take_interrupt());
        assert_eq!([read(&input), read(&input)], ["more", ""]);
    }

    #[test]
    fn an_interrupt_that_nobody_takes_is_not_heeded() {
        let input = Input::new(false);
        assert!(input.interrupt());
        let earlier = meter::now().checked_sub(HEEDED_WITHIN).unwrap();
        input.queue.lock().interrupted = Some(earlier);
        assert!(!input.interrupt());
    }

    #[tokio::test]
    async fn whoever_types_more_than_is_read_waits() {
        use tokio::io::AsyncWriteExt as _;
        let input = Input::new(false);
        let mut writer = input.writer();
        writer.write_all(&vec![b'x'; WAITING_BYTES_MAX]).await.unwrap();
        let typing = tokio::spawn(async move { writer.write_all(b"one more").await });
        tokio::task::yield_now().await;
        assert!(!typing.is_finished());
        assert_eq!(read(&input).len(), 100);
        typing.await.unwrap().unwrap();
    }
}
