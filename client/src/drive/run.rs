//! The workers that take keys and run the reconcile, and their owner.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::{Outcome, Queue};

/// Owns the workers of a queue. Dropping it ends them in the middle; [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct Drive {
    tasks: JoinSet<()>,
}

impl Drive {
    /// Ends the workers at their next await and waits until all are gone.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    /// Takes further tasks into the same ownership.
    pub fn own(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

/// Runs `reconcile` for the keys of a queue, `workers` at a time, never two for the same key.
///
/// After an error (or a panic) the key comes again with its exponential back-off; after success
/// its back-off begins anew. `name` labels the log lines. Needs a tokio runtime.
pub fn drive<T, F, R, E>(name: &'static str, queue: Queue<T>, workers: usize, reconcile: F) -> Drive
where
    T: Clone + Eq + Hash + Debug + Send + Sync + 'static,
    F: Fn(T) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Outcome, E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let reconcile = Arc::new(reconcile);
    let mut tasks = JoinSet::new();
    for _ in 0..workers.max(1) {
        tasks.spawn(work(name, queue.clone(), Arc::clone(&reconcile)));
    }
    tasks.spawn(async move { queue.keep_time().await });
    Drive { tasks }
}

async fn work<T, F, R, E>(name: &'static str, queue: Queue<T>, reconcile: Arc<F>)
where
    T: Clone + Eq + Hash + Debug + Send + Sync + 'static,
    F: Fn(T) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Outcome, E>> + Send + 'static,
    E: Display + Send + 'static,
{
    loop {
        let key = queue.take().await;
        let span = tracing::debug_span!("reconcile", controller = name, ?key);
        // The call itself may panic before it gives a future, so it is made inside.
        let run = async { reconcile(key.clone()).await };
        match AssertUnwindSafe(run).catch_unwind().instrument(span).await {
            Ok(Ok(Outcome::Done)) => queue.succeeded(&key),
            Ok(Ok(Outcome::RequeueAfter(wait))) => {
                queue.succeeded(&key);
                queue.add_after(key.clone(), wait);
            }
            Ok(Ok(Outcome::Retry)) => queue.add_failed(key.clone()),
            Ok(Err(error)) => {
                tracing::warn!(controller = name, ?key, %error, "reconcile failed, will retry");
                queue.add_failed(key.clone());
            }
            Err(_) => {
                tracing::error!(controller = name, ?key, "reconcile panicked, will retry");
                queue.add_failed(key.clone());
            }
        }
        queue.finish(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[tokio::test(start_paused = true)]
    async fn failed_and_requeued_keys_come_again_and_panics_are_contained() {
        let queue = Queue::new();
        let (sender, mut runs) = mpsc::unbounded_channel();
        let owner = drive("test", queue.clone(), 2, move |key: u32| {
            let sender = sender.clone();
            async move {
                sender.send(key).unwrap();
                match key {
                    1 => Err("refused"),
                    2 => panic!("bug"),
                    _ => Ok(Outcome::RequeueAfter(Duration::from_secs(100))),
                }
            }
        });
        for key in [1, 2, 3] {
            queue.add(key);
        }
        let mut seen = [0; 4];
        while seen[3] < 2 {
            seen[runs.recv().await.unwrap() as usize] += 1;
        }
        assert!(seen[1] > 5 && seen[2] > 5, "{seen:?}");
        owner.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_never_runs_twice_at_a_time() {
        let queue = Queue::new();
        let (sender, mut runs) = mpsc::unbounded_channel();
        let busy = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let owner = drive("test", queue.clone(), 4, move |_: ()| {
            let (sender, busy) = (sender.clone(), Arc::clone(&busy));
            async move {
                let before = busy.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::task::yield_now().await;
                busy.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                sender.send(before).unwrap();
                Ok::<_, String>(Outcome::Done)
            }
        });
        for _ in 0..10 {
            queue.add(());
            assert_eq!(runs.recv().await, Some(0));
            queue.add(());
            queue.add(());
        }
        owner.stop().await;
    }
}
