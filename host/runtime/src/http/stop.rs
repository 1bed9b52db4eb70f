//! The end of an http container: refuse, drain, cut off.
//!
//! An edge: the stop is a task, which lives until the container has ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::HttpContainer;
use crate::container::Phase;
use crate::exit::{EndedBy, Exit};

/// How often a stop looks whether the last connections are closed.
const CLOSE_LOOK: Duration = Duration::from_millis(10);

/// How long connections may take to close once nothing is in flight any more.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(500);

impl HttpContainer {
    /// Begins to do what the owner wants, if a task does not do so already.
    pub(crate) fn stop(self: &Arc<Self>) {
        if self.has_stopper.swap(true, Ordering::AcqRel) {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(self.clone().ending());
            }
            Err(_) => self.cut_off(Exit::of_ended(EndedBy::Kill)),
        }
    }

    async fn ending(self: Arc<Self>) {
        let mut phase = self.core.phase();
        loop {
            let wanted = *phase.borrow_and_update();
            let ended_by = match wanted {
                Phase::Running => {
                    if phase.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                Phase::Killed => EndedBy::Kill,
                Phase::Stopping(deadline) => tokio::select! {
                    biased;
                    _ = phase.changed() => continue,
                    ended_by = self.drain(deadline) => ended_by,
                },
            };
            if let Some(log) = &self.core.log {
                self.killed.cancel();
                log.flushed().await;
            }
            return self.cut_off(Exit::of_ended(ended_by));
        }
    }

    /// Refuses what is new and waits for what is in flight.
    async fn drain(&self, deadline: Instant) -> EndedBy {
        self.core.scope.drain();
        self.core.notice.raise(deadline);
        self.stopping.cancel();
        match tokio::time::timeout_at(deadline.into(), self.drained()).await {
            Ok(()) => EndedBy::Stop,
            Err(_) => EndedBy::Deadline,
        }
    }

    fn connections(&self) -> usize {
        self.core.scope.connections() + self.real_connections.load(Ordering::Acquire)
    }

    async fn drained(&self) {
        loop {
            self.answered().await;
            // The last bytes of the last response are on their way, and a connection that was just
            // taken may be about to ask; a client that does neither is not waited for.
            let closed = async {
                while self.connections() > 0 {
                    tokio::time::sleep(CLOSE_LOOK).await;
                }
            };
            let _ = tokio::time::timeout(CLOSE_TIME_MAX, closed).await;
            if self.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }

    /// Waits until nothing is in flight.
    async fn answered(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }
}
