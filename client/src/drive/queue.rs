//! The queue's shared handle: the schedule behind a lock, the clock, and who waits.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::schedule::Schedule;

struct Inner<T> {
    schedule: Mutex<Schedule<T>>,
    began: Instant,
    /// Wakes one worker.
    work: Notify,
    /// Wakes the timer when something may be due earlier than it thinks.
    timer: Notify,
}

/// Keys that wait for a reconcile. Clones share it; `add` never blocks.
///
/// Bounded by the number of distinct keys.
pub struct Queue<T>(Arc<Inner<T>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue(Arc::clone(&self.0))
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<T: Clone + Eq + Hash> Default for Queue<T> {
    fn default() -> Self {
        Queue::new()
    }
}

impl<T: Clone + Eq + Hash> Queue<T> {
    /// Makes an empty queue.
    pub fn new() -> Queue<T> {
        Queue(Arc::new(Inner {
            schedule: Mutex::new(Schedule::default()),
            began: Instant::now(),
            work: Notify::new(),
            timer: Notify::new(),
        }))
    }

    fn now(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// Adds a key to run as soon as a worker is free.
    pub fn add(&self, key: T) {
        if self.0.schedule.lock().add(key) {
            self.0.work.notify_one();
        }
    }

    /// Adds a key to run after a while; of several such times the earliest stays.
    pub fn add_after(&self, key: T, wait: Duration) {
        if wait.is_zero() {
            return self.add(key);
        }
        let at = self.now() + wait;
        self.0.schedule.lock().add_at(key, at);
        self.0.timer.notify_one();
    }

    /// Adds a key to run after its own back-off, which doubles with each call.
    pub fn add_failed(&self, key: T) {
        let (now, jitter) = (self.now(), rand::random_range(0.5..=1.0));
        self.0.schedule.lock().add_failed(key, now, jitter);
        self.0.timer.notify_one();
    }

    /// Forgets the failures of a key, so that its next back-off is the shortest.
    pub fn succeeded(&self, key: &T) {
        self.0.schedule.lock().succeeded(key);
    }

    /// Says whether no key waits or runs; keys due later do not count.
    pub fn is_idle(&self) -> bool {
        self.0.schedule.lock().is_idle()
    }

    /// Waits for a key to run. Cancel safe. The caller must [`finish`](Self::finish) it.
    pub async fn take(&self) -> T {
        loop {
            let woken = self.0.work.notified();
            {
                let mut schedule = self.0.schedule.lock();
                if let Some(key) = schedule.take() {
                    // One wake-up may stand for several keys: pass it on.
                    if schedule.has_ready() {
                        self.0.work.notify_one();
                    }
                    return key;
                }
            }
            woken.await;
        }
    }

    /// Ends the run of a key that was taken.
    pub fn finish(&self, key: T) {
        let mut schedule = self.0.schedule.lock();
        schedule.finish(key);
        if schedule.has_ready() {
            self.0.work.notify_one();
        }
    }

    /// Makes delayed keys ready when they are due; runs until it is dropped.
    pub(super) async fn keep_time(&self) {
        loop {
            let changed = self.0.timer.notified();
            let next = {
                let mut schedule = self.0.schedule.lock();
                let next = schedule.ripen(self.now());
                if schedule.has_ready() {
                    self.0.work.notify_one();
                }
                next
            };
            match next {
                Some(at) => {
                    let _ = tokio::time::timeout_at(self.0.began + at, changed).await;
                }
                None => changed.await,
            }
        }
    }
}
