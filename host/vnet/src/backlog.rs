//! Connections that wait to be accepted.

use crate::stream::VStream;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

/// Most connections that may wait, whatever the guest asks for: each can hold half a mebibyte. One
/// more is refused. *Source:* Linux `net.core.somaxconn`.
const BACKLOG_CONNECTIONS_MAX: usize = 4096;

/// Fewest, since refusing is harsher than what a kernel does when its queue is full.
const BACKLOG_CONNECTIONS_MIN: usize = 128;

#[derive(Default)]
struct State {
    waiting: VecDeque<VStream>,
    closed: bool,
    waker: Option<Waker>,
}

/// The queue of one listener.
pub(crate) struct Backlog {
    state: Mutex<State>,
    connections_max: usize,
}

impl Backlog {
    pub(crate) fn new(connections: usize) -> Backlog {
        Backlog {
            state: Mutex::default(),
            connections_max: connections.clamp(BACKLOG_CONNECTIONS_MIN, BACKLOG_CONNECTIONS_MAX),
        }
    }

    /// Adds a connection.
    ///
    /// # Errors
    /// `ConnectionRefused` when the listener is gone or the queue full.
    pub(crate) fn offer(&self, stream: VStream) -> io::Result<()> {
        let waker = {
            let mut state = self.state.lock();
            if state.closed || state.waiting.len() >= self.connections_max {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            state.waiting.push_back(stream);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The oldest connection that waits.
    ///
    /// # Errors
    /// `ConnectionAborted` when the namespace has ended.
    pub(crate) fn poll_accept(&self, context: &Context<'_>) -> Poll<io::Result<VStream>> {
        let mut state = self.state.lock();
        if let Some(stream) = state.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if state.closed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ready when [`Backlog::poll_accept`] would be.
    pub(crate) fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.closed || !state.waiting.is_empty() {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Cuts all that wait, and refuses what comes.
    pub(crate) fn close(&self) {
        let (waiting, waker) = {
            let mut state = self.state.lock();
            state.closed = true;
            (std::mem::take(&mut state.waiting), state.waker.take())
        };
        for stream in &waiting {
            stream.reset();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
