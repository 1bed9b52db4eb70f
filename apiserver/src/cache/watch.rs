//! One open watch: what was there, what happened since, what happens.
//!
//! An edge: it waits for events.

use super::change::WatchEvent;
use super::hub::Ticket;
use super::object::Object;
use super::resource::ResourceCache;
use coracle_store::Revision;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many events are given at once, so that one body frame stays small.
const EVENTS_AT_ONCE_MAX: usize = 64;

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchFrom {
    /// With the objects that are there, then with what happens.
    Current,
    /// With what happens from now on.
    Now,
    /// With what happened after a revision.
    After(Revision),
}

/// An open watch; dropped, it is closed.
pub struct Watch {
    cache: Arc<ResourceCache>,
    ticket: Ticket,
    queue: mpsc::Receiver<WatchEvent>,
    initial: Vec<Arc<Object>>,
    replay: VecDeque<WatchEvent>,
    revision: Revision,
}

impl Watch {
    pub(super) fn new(
        cache: Arc<ResourceCache>,
        ticket: Ticket,
        queue: mpsc::Receiver<WatchEvent>,
        initial: Vec<Arc<Object>>,
        replay: VecDeque<WatchEvent>,
        revision: Revision,
    ) -> Watch {
        Watch { cache, ticket, queue, initial, replay, revision }
    }

    /// Takes the objects that were there when a watch from [`WatchFrom::Current`] began, at [`Watch::start`].
    pub fn take_initial(&mut self) -> Vec<Arc<Object>> {
        std::mem::take(&mut self.initial)
    }

    /// The revision at which the watch began.
    pub fn start(&self) -> Revision {
        self.revision
    }

    /// The next events, at least one, in order, each once.
    ///
    /// `None` when the watch was closed because its client was too slow: it may resume after the last event, or list
    /// again. Cancel safe.
    pub async fn next(&mut self) -> Option<Vec<WatchEvent>> {
        if !self.replay.is_empty() {
            let count = self.replay.len().min(EVENTS_AT_ONCE_MAX);
            return Some(self.replay.drain(..count).collect());
        }
        let mut events = Vec::new();
        let count = self.queue.recv_many(&mut events, EVENTS_AT_ONCE_MAX).await;
        (count > 0).then_some(events)
    }

    /// The revision for a bookmark: all events up to and with it have been given. `None` while some still wait.
    pub fn bookmark(&self) -> Option<Revision> {
        // In this order: what was sent before the look at the queue is in the queue.
        let sent = self.cache.progress().sent();
        let caught_up = self.initial.is_empty() && self.replay.is_empty() && self.queue.is_empty();
        caught_up.then_some(sent.max(self.revision))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cache.hub().lock().unsubscribe(&self.ticket);
    }
}
