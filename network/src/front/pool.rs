//! Connections to backends that wait for their next request.
//!
//! They are kept by backend *and* client: a backend sees the client's own address as its peer, and
//! policies are asked about it, exactly as with a node port.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::body::Body;

/// How long a connection waits for its next request. Short: an idle pod has no tasks, and a Service
/// on demand must not be held up by nobody.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// Connections that wait for one client and backend: as many as a browser or a load test opens.
const IDLE_EACH_MAX: usize = 64;

/// Connections that wait in all; one more is closed instead.
const IDLE_ALL_MAX: usize = 4_096;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) backend: SocketAddr,
    pub(super) client: IpAddr,
}

/// The waiting connections.
#[derive(Debug, Default)]
pub(super) struct Pool {
    plain: Mutex<Shelf<Key, Sender1>>,
    shared: Mutex<HashMap<Key, (Sender2, Instant)>>,
    filled: Notify,
}

/// Sends requests over a connection of HTTP/1.
pub(super) type Sender1 = http1::SendRequest<Body>;
/// Sends requests over a connection of HTTP/2.
pub(super) type Sender2 = http2::SendRequest<Body>;

impl Pool {
    /// Takes a connection of HTTP/1.
    pub(super) fn take(&self, key: &Key) -> Option<Sender1> {
        self.plain.lock().take(key)
    }

    /// Gives a connection of HTTP/1 back.
    pub(super) fn give(&self, key: Key, sender: Sender1) {
        if !sender.is_closed() {
            self.plain.lock().give(key, sender, now());
            self.filled.notify_one();
        }
    }

    /// The connection of HTTP/2, which requests share.
    pub(super) fn share(&self, key: &Key) -> Option<Sender2> {
        let mut shared = self.shared.lock();
        let (sender, used) = shared.get_mut(key)?;
        *used = now();
        Some(sender.clone())
    }

    /// Lets requests share a connection of HTTP/2.
    pub(super) fn put_shared(&self, key: Key, sender: Sender2) {
        let mut shared = self.shared.lock();
        if shared.len() < IDLE_ALL_MAX || shared.contains_key(&key) {
            shared.insert(key, (sender, now()));
            self.filled.notify_one();
        }
    }

    /// Closes what waited too long, for as long as it is polled.
    pub(super) async fn sweep(&self) {
        loop {
            self.filled.notified().await;
            loop {
                tokio::time::sleep(IDLE_MAX / 2).await;
                let now = now();
                let (mut plain, mut shared) = (self.plain.lock(), self.shared.lock());
                plain.retain(|sender, since| !sender.is_closed() && !is_old(since, now));
                // One whose last handle goes finishes what is under way first.
                shared.retain(|_, (sender, used)| !sender.is_closed() && !is_old(*used, now));
                if plain.count == 0 && shared.is_empty() {
                    break;
                }
            }
        }
    }
}

fn is_old(since: Instant, now: Instant) -> bool {
    now.duration_since(since) > IDLE_MAX
}

#[expect(clippy::disallowed_methods, reason = "the edge that knows how long a connection waits")]
fn now() -> Instant {
    Instant::now()
}

/// What waits, by whose it is; the one that was given back last is taken first.
#[derive(Debug)]
struct Shelf<K, S> {
    waiting: HashMap<K, Vec<(S, Instant)>>,
    count: usize,
}

impl<K, S> Default for Shelf<K, S> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), count: 0 }
    }
}

impl<K: Eq + Hash + Copy, S> Shelf<K, S> {
    fn take(&mut self, key: &K) -> Option<S> {
        let waiting = self.waiting.get_mut(key)?;
        let taken = waiting.pop();
        if waiting.is_empty() {
            self.waiting.remove(key);
        }
        self.count -= usize::from(taken.is_some());
        taken.map(|(sender, _)| sender)
    }

    fn give(&mut self, key: K, sender: S, now: Instant) {
        if self.count >= IDLE_ALL_MAX {
            return;
        }
        let waiting = self.waiting.entry(key).or_default();
        if waiting.len() < IDLE_EACH_MAX {
            waiting.push((sender, now));
            self.count += 1;
        }
    }

    fn retain(&mut self, keep: impl Fn(&S, Instant) -> bool) {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|(sender, since)| keep(sender, *since));
            !waiting.is_empty()
        });
        self.count = self.waiting.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_connections_are_bounded_for_each_and_for_all() {
        let mut shelf: Shelf<usize, usize> = Shelf::default();
        let start = now();
        (0..=IDLE_EACH_MAX).for_each(|sender| shelf.give(0, sender, start));
        assert_eq!(shelf.count, IDLE_EACH_MAX);
        assert_eq!(shelf.take(&0), Some(IDLE_EACH_MAX - 1));
        assert_eq!(shelf.take(&1), None);
        (1..=IDLE_ALL_MAX).for_each(|key| shelf.give(key, 0, start));
        assert_eq!(shelf.count, IDLE_ALL_MAX);
        shelf.retain(|_, since| !is_old(since, start + IDLE_MAX));
        assert_eq!(shelf.count, IDLE_ALL_MAX);
        shelf.retain(|_, since| !is_old(since, start + IDLE_MAX * 2));
        assert_eq!((shelf.count, shelf.waiting.len()), (0, 0));
    }
}
