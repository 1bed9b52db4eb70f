//! How long changes of pods gather until what they belong to is looked at again.
//!
//! A look at a ReplicaSet or a Service reads all its pods, and pods change one by one: with a look for each change, it
//! costs the square of its pods.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{ObjectKey, Queue};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Pods up to which every change is looked at at once: as many as one pass of a ReplicaSet makes.
const AT_ONCE_PODS_MAX: usize = 500;

/// Time for each pod between two looks. A look at a pod takes one or two microseconds, so that what has many takes about
/// a tenth of a core, however many these are.
const PER_POD: Duration = Duration::from_micros(20);

/// Longest time, so that even among 100,000 pods that change all the time it is noticed in a second that one was lost.
const GATHERS_MAX: Duration = Duration::from_secs(1);

/// Gives how long changes gather for what has so many pods: not at all where there are few.
fn gathers(pods: usize) -> Duration {
    if pods <= AT_ONCE_PODS_MAX {
        return Duration::ZERO;
    }
    PER_POD.saturating_mul(u32::try_from(pods).unwrap_or(u32::MAX)).min(GATHERS_MAX)
}

/// The last looks at what has many pods, bounded by the number of these; clones share them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Looks(Arc<Mutex<HashMap<ObjectKey, Look>>>);

#[derive(Debug, Clone, Copy)]
struct Look {
    began: Instant,
    gathers: Duration,
}

impl Looks {
    /// Notes that something is looked at now that has so many pods; what is gone has none.
    pub(crate) fn note(&self, key: &ObjectKey, pods: usize) {
        let gathers = gathers(pods);
        let mut looks = self.0.lock();
        if gathers.is_zero() {
            looks.remove(key);
        } else {
            looks.insert(key.clone(), Look { began: Instant::now(), gathers });
        }
    }

    /// Adds what a change concerns: at once, unless it has many pods and was looked at a moment ago.
    pub(crate) fn add(&self, queue: &Queue<ObjectKey>, key: ObjectKey) {
        let look = self.0.lock().get(&key).copied();
        let rest = look.map(|look| look.gathers.saturating_sub(look.began.elapsed()));
        queue.add_after(key, rest.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use coracle_client::{Outcome, drive};
    use tokio::time::sleep;

    use super::*;

    #[test]
    fn only_what_has_many_pods_waits_and_not_for_long() {
        let check =
            |pods, millis| assert_eq!(gathers(pods), Duration::from_millis(millis), "{pods}");
        check(0, 0);
        check(500, 0);
        check(1_000, 20);
        check(10_000, 200);
        check(10_000_000, 1_000);
    }

    fn key() -> ObjectKey {
        ObjectKey::namespaced("a", "web")
    }

    /// A pod changes each millisecond, and each look writes a status, which is a change, too: how many looks there are.
    async fn looks_at(pods: usize) -> usize {
        let (queue, looks) = (Queue::new(), Looks::default());
        let (looked, pending) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let drive = drive("test", queue.clone(), 1, {
            let (queue, looks) = (queue.clone(), looks.clone());
            let (looked, pending) = (Arc::clone(&looked), Arc::clone(&pending));
            move |key: ObjectKey| {
                looks.note(&key, pods);
                looked.fetch_add(1, Ordering::Relaxed);
                // A look that finds nothing new writes nothing.
                if pending.swap(0, Ordering::Relaxed) > 0 {
                    looks.add(&queue, key);
                }
                async { Ok::<_, String>(Outcome::Done) }
            }
        });
        for _pod in 0..pods {
            pending.fetch_add(1, Ordering::Relaxed);
            looks.add(&queue, key());
            sleep(Duration::from_millis(1)).await;
        }
        sleep(GATHERS_MAX * 3).await;
        assert_eq!(pending.load(Ordering::Relaxed), 0, "the last change was looked at, too");
        drive.stop().await;
        looked.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn looks_are_bounded_by_time_and_not_by_pods() {
        // 2 s of changes, 40 ms for each look; 10 s, 200 ms for each.
        let (few, many) = (looks_at(2_000).await, looks_at(10_000).await);
        assert!((40..=55).contains(&few), "{few}");
        assert!((40..=55).contains(&many), "{many}");
        assert!(looks_at(400).await >= 400, "each change of few pods is looked at");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_quiet_is_looked_at_at_once() {
        let looks = Looks::default();
        let at_once = || {
            let queue = Queue::new();
            looks.add(&queue, key());
            !queue.is_idle()
        };
        assert!(at_once());
        looks.note(&key(), 10_000);
        assert!(!at_once());
        sleep(Duration::from_millis(200)).await;
        assert!(at_once());
        looks.note(&key(), 10_000);
        looks.note(&key(), 0);
        assert!(at_once(), "what is gone is forgotten");
    }
}
