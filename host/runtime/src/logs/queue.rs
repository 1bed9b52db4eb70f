//! The queue between guests that write and the thread that puts it on disk.
//!
//! An edge: it spawns the writing.

use std::io;
use std::sync::Arc;

use coracle_telemetry::RequestId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::file;
use crate::spec::LogSpec;

/// Bytes that may wait for the disk; a guest that writes more waits.
pub(super) const QUEUE_BYTES_MAX: usize = 256 << 10;

/// Where lines go.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Takes whole lines. Called from threads that may block.
    fn append(&self, lines: &[u8]) -> io::Result<()>;

    /// Names it to people.
    fn name(&self) -> String;
}

/// Lines that go to files of this machine.
struct Files(LogSpec);

impl Sink for Files {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        file::append(&self.0, lines)
    }

    fn name(&self) -> String {
        self.0.path.display().to_string()
    }
}

/// One container's log.
#[derive(Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    sink: Arc<dyn Sink>,
    queue: Mutex<Queue>,
    /// Is told whenever the queue became empty.
    emptied: Notify,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    /// A thread is writing and will look again when it is done.
    is_writing: bool,
    /// The disk failed; said once, and again after a success.
    has_failed: bool,
}

impl Log {
    /// Makes the log's file.
    ///
    /// # Errors
    /// The folder or file cannot be made.
    pub(crate) fn open(spec: &LogSpec) -> io::Result<Self> {
        file::create(spec)?;
        Ok(Self::to(Arc::new(Files(spec.clone()))))
    }

    /// A log whose lines go to `sink`.
    pub(crate) fn to(sink: Arc<dyn Sink>) -> Self {
        let shared = Shared { sink, queue: Mutex::default(), emptied: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Appends lines that are whole already, as soon as there is room.
    pub(crate) async fn append(&self, lines: &[u8]) {
        self.ready().await;
        self.put(|out| out.extend_from_slice(lines));
    }

    /// Bytes that may be written now.
    pub(super) fn room(&self) -> usize {
        QUEUE_BYTES_MAX.saturating_sub(self.shared.queue.lock().lines.len())
    }

    /// Lets `write` append to the queue, and sees to it that it is written.
    pub(super) fn put(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut queue = self.shared.queue.lock();
        write(&mut queue.lines);
        if queue.lines.is_empty() || queue.is_writing {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        queue.is_writing = true;
        drop(queue);
        let shared = self.shared.clone();
        runtime.spawn_blocking(move || shared.write_all());
    }

    /// Writes a line of the host's own, as stderr, about a request if one is given.
    pub(crate) fn note(&self, line: &str, of: Option<RequestId>) {
        super::stream::note(self, line, of);
    }

    /// Resolves when there is room.
    pub(super) async fn ready(&self) {
        self.empty_or(|queue| queue.lines.len() < QUEUE_BYTES_MAX).await;
    }

    /// Resolves when all that was put is on disk.
    pub(crate) async fn flushed(&self) {
        self.put(|_| {});
        self.empty_or(|queue| queue.lines.is_empty() && !queue.is_writing).await;
    }

    async fn empty_or(&self, is_enough: impl Fn(&Queue) -> bool) {
        loop {
            let emptied = self.shared.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if is_enough(&self.shared.queue.lock()) {
                return;
            }
            emptied.await;
        }
    }
}

impl Shared {
    /// Writes until the queue is empty.
    fn write_all(&self) {
        loop {
            let lines = {
                let mut queue = self.queue.lock();
                if queue.lines.is_empty() {
                    queue.is_writing = false;
                    break;
                }
                std::mem::take(&mut queue.lines)
            };
            // What is taken no longer counts against the bound, so at most twice it is held.
            self.emptied.notify_waiters();
            let result = self.sink.append(&lines);
            self.report(result, lines.len());
        }
        self.emptied.notify_waiters();
    }

    /// Says once that the log cannot be written; the guest goes on, its lines are lost.
    fn report(&self, result: io::Result<()>, bytes: usize) {
        let mut queue = self.queue.lock();
        match result {
            Ok(()) => queue.has_failed = false,
            Err(error) if !queue.has_failed => {
                queue.has_failed = true;
                let to = self.sink.name();
                tracing::warn!(to, %error, bytes, "container log lost: cannot write it");
            }
            Err(_) => {}
        }
    }
}
