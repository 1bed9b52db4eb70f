//! Writes the checkpoint behind the agent's back: the last record of each pod wins, and nobody waits
//! for the disk.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::files::Files;

#[derive(Debug, Default)]
struct Waiting {
    /// A record to write, or nothing to remove the pod. At most one per pod.
    pods: Mutex<HashMap<String, Option<Vec<u8>>>>,
    more: Notify,
    /// Held while records are written.
    turn: tokio::sync::Mutex<()>,
}

/// Takes records; clones share the writing task.
#[derive(Clone, Debug)]
pub struct Writer {
    waiting: Arc<Waiting>,
}

impl Writer {
    /// Starts the writing task. Needs a tokio runtime; the task ends with the runtime.
    #[must_use]
    pub fn start(files: Files) -> Self {
        let waiting = Arc::<Waiting>::default();
        let taken = waiting.clone();
        tokio::spawn(async move {
            loop {
                {
                    let _turn = taken.turn.lock().await;
                    let pods = std::mem::take(&mut *taken.pods.lock());
                    write(&files, pods).await;
                }
                taken.more.notified().await;
            }
        });
        Self { waiting }
    }

    /// Keeps a pod's record.
    pub fn keep(&self, uid: &str, record: Vec<u8>) {
        self.put(uid, Some(record));
    }

    /// Forgets a pod.
    pub fn forget(&self, uid: &str) {
        self.put(uid, None);
    }

    /// Waits until all that was put in before is on the disk.
    pub async fn flush(&self) {
        loop {
            {
                let _turn = self.waiting.turn.lock().await;
                if self.waiting.pods.lock().is_empty() {
                    return;
                }
            }
            self.waiting.more.notify_one();
            tokio::task::yield_now().await;
        }
    }

    fn put(&self, uid: &str, record: Option<Vec<u8>>) {
        self.waiting.pods.lock().insert(uid.to_owned(), record);
        self.waiting.more.notify_one();
    }
}

async fn write(files: &Files, pods: HashMap<String, Option<Vec<u8>>>) {
    if pods.is_empty() {
        return;
    }
    let files = files.clone();
    let done = tokio::task::spawn_blocking(move || {
        for (uid, record) in pods {
            match record {
                Some(record) => {
                    if let Err(error) = files.write_pod(&uid, &record) {
                        tracing::error!(%uid, %error, "cannot write a pod's checkpoint");
                    }
                }
                None => files.remove_pod(&uid),
            }
        }
    });
    let _ = done.await;
}
