//! The events of a prefix from a revision on: a cursor into the history, so that nothing is lost or seen twice.

use crate::backend::shared::Shared;
use crate::{Event, ReadError, Revision};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// How many events of the history are looked at under one lock, so that a watch far behind holds up nobody.
const SCAN_EVENTS_MAX: usize = 1024;

/// What a watch gives next.
#[derive(Debug, Clone)]
pub enum WatchItem {
    /// A change of a key with the watched prefix.
    Event(Arc<Event>),
    /// Everything up to and with this revision has been given.
    Progress(Revision),
    /// The events up to and with this revision are gone: list again. The watch is over.
    Compacted(Revision),
}

/// A watch; it costs nothing while nobody calls [`Watch::next`], and falls behind instead of holding up writers.
pub struct Watch {
    shared: Arc<Shared>,
    changed: watch::Receiver<Revision>,
    prefix: Bytes,
    after: Revision,
    ready: VecDeque<WatchItem>,
    over: bool,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, prefix: &[u8], after: Revision) -> Watch {
        let changed = shared.subscribe();
        let prefix = Bytes::copy_from_slice(prefix);
        Watch { shared, changed, prefix, after, ready: VecDeque::new(), over: false }
    }

    /// The next item; `None` when the store was closed or after [`WatchItem::Compacted`].
    ///
    /// [`WatchItem::Progress`] comes whenever the watch has caught up, also when no event of its prefix happened.
    /// Cancel safe: an item is given or still there.
    pub async fn next(&mut self) -> Option<WatchItem> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.over {
                return None;
            }
            let ended = self.shared.ended();
            let latest = *self.changed.borrow_and_update();
            if latest > self.after || self.after < self.shared.compacted() {
                self.scan();
            } else if ended || self.changed.changed().await.is_err() {
                self.over = true;
            }
        }
    }

    fn scan(&mut self) {
        let shared = Arc::clone(&self.shared);
        let state = shared.read();
        let events = match state.mvcc.events_after(self.after) {
            Ok(events) => events,
            Err(ReadError::Compacted { compacted, .. }) => {
                self.over = true;
                return self.ready.push_back(WatchItem::Compacted(compacted));
            }
            Err(ReadError::Future { .. } | ReadError::Unavailable(_)) => return,
        };
        let start = self.after;
        for (count, event) in events.enumerate() {
            // Only between commits, because `after` cannot say "half of a commit".
            if count >= SCAN_EVENTS_MAX && event.revision > self.after {
                self.changed.mark_changed();
                return;
            }
            self.after = event.revision;
            if event.key.starts_with(&self.prefix) {
                self.ready.push_back(WatchItem::Event(Arc::clone(event)));
            }
        }
        self.after = state.mvcc.revision().max(start);
        self.ready.push_back(WatchItem::Progress(self.after));
    }
}
