//! Walks over disks: one at a time, and each keeps what it found, whoever has asked for it and left since.
//!
//! An edge: it begins tasks, reads the clock and waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::pace::{Known, Walked};
use super::space::DiskSample;

/// What walks have found, and the walk that is under way.
pub(crate) struct Walks {
    start: Instant,
    known: watch::Sender<Known>,
}

impl Walks {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), known: watch::Sender::default() }
    }

    /// What was found last; nothing before the first walk's end.
    pub(super) fn last(&self) -> Arc<DiskSample> {
        self.known.borrow().last.clone()
    }

    /// Begins a walk when one is due. It goes on by itself.
    pub(super) fn begin<F>(self: &Arc<Self>, walk: impl FnOnce() -> F)
    where
        F: Future<Output = Option<Walked>> + Send + 'static,
    {
        let now = self.start.elapsed();
        if !self.known.send_if_modified(|known| known.ask(now)) {
            return;
        }
        let (walks, walk) = (self.clone(), walk());
        tokio::spawn(async move {
            let walked = walk.await;
            let now = walks.start.elapsed();
            walks.known.send_modify(|known| known.end(walked, now));
        });
    }

    /// What is known once the walk that is under way has ended, or has been under way for `patience`.
    pub(super) async fn settled(&self, patience: Duration) -> Arc<DiskSample> {
        let mut known = self.known.subscribe();
        let since = known.borrow().walks_since();
        if let Some(since) = since {
            let over = known.wait_for(|known| known.walks_since() != Some(since));
            // Whether it has ended or not, what is known by now is the answer.
            drop(tokio::time::timeout_at(self.start + since + patience, over).await);
        }
        self.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use jiff::Timestamp;
    use tokio::sync::oneshot;

    const LONG: Duration = Duration::from_secs(3600);

    fn never_walks() -> std::future::Ready<Option<Walked>> {
        panic!("a walk that is not due")
    }

    #[tokio::test]
    async fn walks_go_one_at_a_time_and_keep_what_they_find_without_their_asker() {
        let walks = Arc::new(Walks::new());
        let (end, ended) = oneshot::channel();
        let none = Arc::new(DiskSample::default());
        walks.begin(|| async { ended.await.ok() });
        walks.begin(never_walks);
        assert_eq!(walks.last(), none);
        // Who has waited long enough gets what there is.
        assert_eq!(walks.settled(Duration::ZERO).await, none);
        // Who asked has gone.
        assert!(walks.settled(LONG).now_or_never().is_none());
        let at = Timestamp::from_second(7).unwrap();
        let found = DiskSample { at, ..DiskSample::default() };
        // It took so long that it rests however slow this test is.
        end.send(Walked { sample: found.clone(), took: LONG }).unwrap();
        assert_eq!(*walks.settled(LONG).await, found);
        walks.begin(never_walks);
        assert_eq!(*walks.last(), found);
        assert_eq!(*walks.settled(LONG).await, found);
    }
}
