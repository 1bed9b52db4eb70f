//! The one writer: groups what is waiting into one durable batch, publishes it, then acknowledges it.
//!
//! An edge: it owns the writer thread, which reads the clock and waits for the disk.

use super::shared::Shared;
use super::{Backend, Journal, Observer};
use crate::mvcc::{Batch, Mvcc};
use crate::retention::Retention;
use crate::{CommitError, Committed, Kv, Page, ReadError, Revision, Watch, Write};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// How many requests wait for the writer; more make their callers wait. Several batches, so that it never idles.
const REQUESTS_QUEUED_MAX: usize = 4096;

/// How many requests share a batch: beyond some hundred a larger one costs latency and saves no more CPU.
const BATCH_REQUESTS_MAX: usize = 512;

/// How many bytes of values share a batch, so that one fsync stays short.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// What the writer is asked for.
enum Request {
    Commit(Vec<Write>, oneshot::Sender<Result<Committed, CommitError>>),
    Compact(Revision, oneshot::Sender<Result<(), CommitError>>),
    Close(oneshot::Sender<()>),
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Request::Commit(writes, _) => writes.iter().map(write_bytes).sum(),
            Request::Compact(..) | Request::Close(_) => 0,
        }
    }
}

fn write_bytes(write: &Write) -> usize {
    match write {
        Write::Put { content, .. } => content.bytes.len(),
        Write::Delete { .. } => 0,
    }
}

/// The backend of this process: the core in memory, one writer thread, a journal.
pub struct Sequencer {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Request>,
}

impl Sequencer {
    /// Starts the writer thread on what the journal holds. The thread ends when the sequencer is dropped or closed.
    pub fn start(mvcc: Mvcc, journal: impl Journal + 'static) -> Sequencer {
        let (sequencer, writer) = Sequencer::driven(mvcc, journal);
        let spawned =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run());
        if let Err(error) = spawned {
            // Without its thread the queue is closed, and every commit says so.
            tracing::error!(%error, "no thread for the store's writer");
        }
        sequencer
    }

    /// A sequencer without a thread: the caller gives its writer one turn after the other, and dropping the writer in
    /// between is what the end of the process does. For simulations, which own the order of everything.
    pub fn driven(mvcc: Mvcc, journal: impl Journal + 'static) -> (Sequencer, Writer) {
        let shared = Arc::new(Shared::new(mvcc));
        let (queue, requests) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let writer = Writer {
            shared: Arc::clone(&shared),
            requests,
            journal: Box::new(journal),
            retention: Retention::default(),
            started: now(),
            health: Health::Good,
        };
        (Sequencer { shared, queue }, writer)
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Request,
    ) -> Result<T, CommitError> {
        let (sender, receiver) = oneshot::channel();
        self.queue.send(request(sender)).await.map_err(|_| CommitError::Closed)?;
        receiver.await.map_err(|_| CommitError::Closed)?
    }
}

impl Backend for Sequencer {
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(self.ask(|sender| Request::Commit(writes, sender)))
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Kv>, ReadError>> {
        Box::pin(async move { Ok(self.shared.read().mvcc.get(key).cloned()) })
    }

    fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        start_after: Option<&'a [u8]>,
        limit: usize,
        at: Option<Revision>,
    ) -> BoxFuture<'a, Result<Page, ReadError>> {
        Box::pin(async move { self.shared.read().mvcc.range(prefix, start_after, limit, at) })
    }

    fn revision(&self) -> Revision {
        self.shared.revision()
    }

    fn watch(&self, prefix: &[u8], after: Revision) -> Watch {
        Watch::new(Arc::clone(&self.shared), prefix, after)
    }

    fn compact(&self, to: Revision) -> BoxFuture<'_, Result<(), CommitError>> {
        Box::pin(self.ask(move |sender| Request::Compact(to, sender)))
    }

    fn attach(&self, observer: Arc<dyn Observer>) {
        self.shared.attach(observer);
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (sender, receiver) = oneshot::channel();
            if self.queue.send(Request::Close(sender)).await.is_ok() {
                let _ended = receiver.await;
            }
        })
    }
}

/// Someone who waits, with what they will be told once the batch is durable.
enum Waiting {
    Commit(oneshot::Sender<Result<Committed, CommitError>>, Result<Committed, CommitError>),
    Compact(oneshot::Sender<Result<(), CommitError>>),
}

impl Waiting {
    fn tell(self, failure: Option<&CommitError>) {
        // A caller that has gone away is no error.
        let _gone = match (self, failure) {
            // Also when its guard did not hold: it may have been checked against commits that now failed.
            (Waiting::Commit(sender, _), Some(failure)) => {
                sender.send(Err(failure.clone())).is_err()
            }
            (Waiting::Commit(sender, result), None) => sender.send(result).is_err(),
            (Waiting::Compact(sender), failure) => {
                sender.send(failure.map_or(Ok(()), |failure| Err(failure.clone()))).is_err()
            }
        };
    }
}

/// Whether the journal can be written.
enum Health {
    /// It can.
    Good,
    /// Its disk failed with this batch, which may be durable or not, and it could not be reopened since.
    Doubtful(Batch),
    /// It misses acknowledged commits: writing on would hide that.
    Lost,
}

/// The one writer of a [`Sequencer`].
pub struct Writer {
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    journal: Box<dyn Journal>,
    retention: Retention,
    started: Instant,
    health: Health,
}

/// A request that has come; its writer serves it together with what waits behind it.
pub struct Turn(Request);

impl Writer {
    /// Waits for the next request; `None` when the sequencer is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Turn> {
        self.requests.recv().await.map(Turn)
    }

    fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let Some(next) = self.serve(Turn(first)) else { return };
            self = next;
        }
    }

    /// Makes the request and all that is queued behind it durable, publishes it and acknowledges it; blocks while the
    /// journal works. Gives the writer back unless it was asked to close.
    pub fn serve(mut self, Turn(first): Turn) -> Option<Writer> {
        // Before anything is staged: what was doubtful may turn out to have happened.
        let ill = self.heal().err();
        let (batch, waiting, close) = self.gather(first);
        self.settle(batch, waiting, ill);
        let Some(closed) = close else { return Some(self) };
        self.requests.close();
        drop(self);
        let _gone = closed.send(());
        None
    }

    /// Takes what is queued, up to a batch, and stages it.
    fn gather(&mut self, first: Request) -> (Batch, Vec<Waiting>, Option<oneshot::Sender<()>>) {
        let mut batch = Batch::default();
        let mut waiting = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        let shared = Arc::clone(&self.shared);
        let state = shared.read();
        while let Some(request) = next {
            bytes += request.bytes();
            match request {
                Request::Commit(writes, sender) => {
                    let staged = state.mvcc.stage(&mut batch, writes);
                    waiting.push(Waiting::Commit(sender, staged));
                }
                Request::Compact(to, sender) => {
                    batch.compact_to = batch.compact_to.max(Some(to));
                    waiting.push(Waiting::Compact(sender));
                }
                Request::Close(sender) => return (batch, waiting, Some(sender)),
            }
            let full = waiting.len() >= BATCH_REQUESTS_MAX || bytes >= BATCH_BYTES_MAX;
            next = if full { None } else { self.requests.try_recv().ok() };
        }
        let age = now().saturating_duration_since(self.started);
        batch.compact_to = batch.compact_to.max(self.retention.floor(age, &state.mvcc));
        (batch, waiting, None)
    }

    /// Makes a batch durable, publishes it and tells everyone who waits; an `ill` journal takes nothing.
    fn settle(&mut self, batch: Batch, waiting: Vec<Waiting>, ill: Option<CommitError>) {
        let written = match ill {
            None => self.write(batch),
            Some(ill) => Err(ill),
        };
        for waiting in waiting {
            waiting.tell(written.as_ref().err());
        }
        for observer in written.unwrap_or_default() {
            observer.acknowledged();
        }
    }

    /// Makes a batch durable and publishes it, and gives the observers that were told.
    fn write(&mut self, batch: Batch) -> Result<Vec<Arc<dyn Observer>>, CommitError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        match self.journal.append(&batch) {
            Ok(()) => Ok(self.publish(batch)),
            Err(error) => {
                tracing::warn!(%error, "write to the store failed; reopening its file");
                self.health = Health::Doubtful(batch);
                // What is durable after all is acknowledged: "perhaps" would be less than is known.
                let healed = self.heal().ok().flatten();
                healed.ok_or_else(|| CommitError::Io(Arc::new(error)))
            }
        }
    }

    /// Reopens a journal whose disk failed, and gives the observers when its doubtful batch turned out to be durable and
    /// was published.
    fn heal(&mut self) -> Result<Option<Vec<Arc<dyn Observer>>>, CommitError> {
        let batch = match std::mem::replace(&mut self.health, Health::Good) {
            Health::Good => return Ok(None),
            Health::Doubtful(batch) => batch,
            Health::Lost => {
                self.health = Health::Lost;
                return Err(CommitError::Closed);
            }
        };
        let before = self.shared.read().mvcc.revision();
        let after = batch.commits().last().map_or(before, |commit| commit.revision);
        match self.journal.recover() {
            Ok(durable) if durable == before => Ok(None),
            Ok(durable) if durable == after => Ok(Some(self.publish(batch))),
            Ok(durable) => {
                tracing::error!(%durable, %before, "the store's file misses acknowledged commits");
                self.health = Health::Lost;
                Err(CommitError::Closed)
            }
            Err(error) => {
                tracing::error!(%error, "the store's file cannot be reopened");
                self.health = Health::Doubtful(batch);
                Err(CommitError::Io(Arc::new(error)))
            }
        }
    }

    /// Makes a batch visible, and gives the observers that were told.
    fn publish(&self, mut batch: Batch) -> Vec<Arc<dyn Observer>> {
        let commits = std::mem::take(&mut batch.commits);
        self.shared.publish(&commits, batch.compact_to)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Reads the clock by which the history ages.
#[expect(clippy::disallowed_methods, reason = "the writer is the edge that has the clock")]
fn now() -> Instant {
    Instant::now()
}
