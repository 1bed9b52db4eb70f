//! Who may run now, who waits, and who is sent away.
//!
//! An edge: it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::Account;
use crate::spec::{HttpLimits, Isolation};

/// Lets requests in.
pub(super) struct Admission {
    running: Arc<Semaphore>,
    waiting: AtomicU32,
    queue_max: u32,
    queue_timeout: Duration,
}

/// A request that was let in; it counts until this is dropped.
pub(super) struct Admitted(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// A request that was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The queue is full.
    QueueFull,
    /// It waited too long.
    Waited,
}

impl Admission {
    /// Admits as `limits` say; a resident instance takes one request at a time.
    pub(super) fn new(limits: HttpLimits, isolation: Isolation) -> Self {
        let at_once = match isolation {
            Isolation::Resident => 1,
            Isolation::Request | Isolation::Pooled => limits.concurrency_max.max(1),
        };
        Self {
            running: Arc::new(Semaphore::new(at_once as usize)),
            waiting: AtomicU32::new(0),
            queue_max: limits.queue_max,
            queue_timeout: limits.queue_timeout,
        }
    }

    /// Lets a request in when there is a place and room for `memory_bytes` in the container's
    /// memory, waiting for both in a bounded queue. Cancel safe.
    pub(super) async fn enter(
        &self,
        memory: &Account,
        memory_bytes: u64,
    ) -> Result<Admitted, Refused> {
        if let Ok(permit) = self.running.clone().try_acquire_owned()
            && memory.has_room(memory_bytes)
        {
            return Ok(Admitted(permit));
        }
        let _place = self.queue()?;
        let turn = async {
            let permit = self.running.clone().acquire_owned().await;
            wait_for_room(memory, memory_bytes).await;
            permit
        };
        match tokio::time::timeout(self.queue_timeout, turn).await {
            Ok(Ok(permit)) => Ok(Admitted(permit)),
            Ok(Err(_)) | Err(_) => Err(Refused::Waited),
        }
    }

    fn queue(&self) -> Result<Place<'_>, Refused> {
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.queue_max {
            return Err(Refused::QueueFull);
        }
        Ok(place)
    }
}

/// A place in the queue, given up on drop.
struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn wait_for_room(memory: &Account, bytes: u64) {
    loop {
        let freed = memory.freed();
        tokio::pin!(freed);
        freed.as_mut().enable();
        if memory.has_room(bytes) {
            return;
        }
        freed.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of this length is one that gives up at once.
    const WAITS_SHORT: u32 = 7;

    fn admission(concurrency_max: u32, queue_max: u32) -> Admission {
        let queue_timeout = if queue_max == WAITS_SHORT {
            Duration::from_millis(1)
        } else {
            Duration::from_secs(60)
        };
        let limits =
            HttpLimits { concurrency_max, queue_max, queue_timeout, ..HttpLimits::default() };
        Admission::new(limits, Isolation::Request)
    }

    #[tokio::test]
    async fn one_more_than_the_queue_holds_is_sent_away() {
        let admission = admission(1, 1);
        let memory = Account::new(None, None);
        let first = admission.enter(&memory, 0).await.unwrap();
        let mut second = Box::pin(admission.enter(&memory, 0));
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(admission.enter(&memory, 0).await.err(), Some(Refused::QueueFull));
        drop(first);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn waiting_has_an_end() {
        let admission = admission(1, WAITS_SHORT);
        let memory = Account::new(None, None);
        let _first = admission.enter(&memory, 0).await.unwrap();
        assert_eq!(admission.enter(&memory, 0).await.err(), Some(Refused::Waited));
        assert_eq!(admission.enter(&memory, 0).await.err(), Some(Refused::Waited));
    }

    #[tokio::test]
    async fn memory_that_is_taken_is_waited_for() {
        use wasmtime::ResourceLimiter;
        let admission = admission(9, 9);
        let memory = Account::new(Some(10), None);
        let mut hold = crate::memory::MemoryHold::new(memory.clone());
        hold.memory_growing(0, 8, None).unwrap();
        let mut second = Box::pin(admission.enter(&memory, 8));
        assert!(futures::poll!(&mut second).is_pending());
        drop(hold);
        assert!(second.await.is_ok());
    }
}
