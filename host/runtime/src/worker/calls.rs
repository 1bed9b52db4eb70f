//! Questions that wait for their answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What was asked of the other side, by number. Whoever no longer waits is not told.
pub(super) struct Calls<T> {
    waiting: Mutex<HashMap<u32, oneshot::Sender<T>>>,
    next: AtomicU32,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), next: AtomicU32::new(1) }
    }
}

impl<T> Calls<T> {
    /// Begins a call: its number, and where the answer comes. That ends without one when
    /// [`Calls::end`] is called.
    pub(super) fn begin(&self) -> (u32, oneshot::Receiver<T>) {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, tell| !tell.is_closed());
        waiting.insert(call, tell);
        (call, told)
    }

    /// Waits for another answer to a call that was begun elsewhere.
    pub(super) fn expect(&self, call: u32) -> oneshot::Receiver<T> {
        let (tell, told) = oneshot::channel();
        self.waiting.lock().insert(call, tell);
        told
    }

    /// Passes an answer on; one that nobody waits for is dropped.
    pub(super) fn answer(&self, call: u32, answer: T) {
        if let Some(tell) = self.waiting.lock().remove(&call) {
            let _ = tell.send(answer);
        }
    }

    /// Lets nobody wait any longer.
    pub(super) fn end(&self) {
        self.waiting.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_reach_whoever_asked() {
        let calls = Calls::default();
        let (one, first) = calls.begin();
        let (two, second) = calls.begin();
        let (_, third) = calls.begin();
        calls.answer(two, "two");
        calls.answer(one, "one");
        calls.answer(one, "again");
        calls.answer(99, "nobody");
        calls.end();
        assert_eq!((first.await.unwrap(), second.await.unwrap()), ("one", "two"));
        assert!(third.await.is_err());
    }
}
