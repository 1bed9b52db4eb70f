//! How far the caches are: which revision readers see, and which one watches have been told of.
//!
//! An edge: a request for a revision to come waits here.

use coracle_store::Revision;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// How far the caches of all resources are.
pub(super) struct Progress {
    published: watch::Sender<Revision>,
    sent: AtomicU64,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { published: watch::Sender::new(Revision::default()), sent: AtomicU64::new(0) }
    }
}

impl Progress {
    /// Every read sees at least this revision.
    pub(super) fn published(&self) -> Revision {
        *self.published.borrow()
    }

    /// Says that every read sees this revision.
    pub(super) fn publish(&self, revision: Revision) {
        self.published.send_replace(revision);
    }

    /// Every watch's queue holds its events up to and with this revision.
    pub(super) fn sent(&self) -> Revision {
        Revision(self.sent.load(Ordering::Acquire))
    }

    /// Says that what was published is in every watch's queue.
    pub(super) fn send(&self) {
        self.sent.store(self.published().0, Ordering::Release);
    }

    /// Waits until every read sees this revision. Cancel safe.
    pub(super) async fn wait(&self, revision: Revision) {
        let mut published = self.published.subscribe();
        // The sender lives as long as self, so the wait never fails.
        let _reached = published.wait_for(|now| *now >= revision).await;
    }
}
