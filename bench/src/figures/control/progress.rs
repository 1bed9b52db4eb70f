//! When the first and the last of many objects came to be as they should, and what CPU that took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_client::{Cache, Object, Subscription};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::own;

/// How long any of it may take: far more than is promised, so that a slow machine has figures too.
const PATIENCE: Duration = Duration::from_secs(900);

/// A moment, and the CPU that the process had used by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) at: Instant,
    pub(super) cpu: Duration,
}

impl Mark {
    pub(super) fn now() -> anyhow::Result<Mark> {
        Ok(Mark { at: Instant::now(), cpu: own().cpu()? })
    }
}

#[derive(Default)]
struct Seen {
    count: usize,
    first: Option<Mark>,
    last: Option<Mark>,
}

/// Counts the objects of a cache that come to be so.
pub(super) struct Progress {
    seen: Arc<(Mutex<Seen>, Notify)>,
    _subscription: Subscription,
}

impl Progress {
    /// Begins to count up to `wanted`; an object counts at each change by which it comes to be so.
    pub(super) fn of<K: Object>(
        cache: &Cache<K>,
        wanted: usize,
        is_so: impl Fn(&K) -> bool + Send + Sync + 'static,
    ) -> Progress {
        let seen: Arc<(Mutex<Seen>, Notify)> = Arc::default();
        let counted = Arc::clone(&seen);
        let subscription = cache.observe(move |change| {
            let was = change.old.as_ref().is_some_and(|old| is_so(old));
            if was || change.new.as_ref().is_none_or(|new| !is_so(new)) {
                return;
            }
            let mut seen = counted.0.lock();
            seen.count += 1;
            if seen.count == 1 {
                seen.first = Mark::now().ok();
            }
            if seen.count == wanted {
                seen.last = Mark::now().ok();
                counted.1.notify_one();
            }
        });
        Progress { seen, _subscription: subscription }
    }

    /// Waits for the last one; gives the marks of the first and the last.
    pub(super) async fn done(self) -> anyhow::Result<(Mark, Mark)> {
        let waited = tokio::time::timeout(PATIENCE, self.seen.1.notified()).await;
        let seen = self.seen.0.lock();
        anyhow::ensure!(waited.is_ok(), "{} after {PATIENCE:?}", seen.count);
        seen.first.zip(seen.last).ok_or_else(|| anyhow::anyhow!("/proc could not be read"))
    }
}
