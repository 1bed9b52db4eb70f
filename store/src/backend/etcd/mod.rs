//! The backend in an etcd that several processes share.
//!
//! All keys are in memory here too: a [`Follower`] keeps them as etcd's watch tells, and readers, watches and observers
//! are served from there. A commit is one transaction of etcd, and is answered when the watch has brought it here, so
//! that whoever wrote something reads it. [`Backend::fresh`] asks etcd for its revision and waits for it, so that what
//! was written through another process is read too.
//!
//! The etcd is the cluster's own: every key of it is taken for one of the store, because only then each revision comes
//! with an event. An edge: calls wait for etcd.

mod channel;
mod client;
mod commit;
mod compact;
mod config;
mod error;
mod follow;
mod frame;
mod import;
mod load;
mod messages;
mod pending;
mod value;

pub use self::config::{ADDRESS_SCHEMES, EtcdConfig, EtcdConfigError};
pub use self::import::EtcdImportError;
pub(crate) use self::load::ORIGIN;

use self::client::{Client, TRY_TIME_MAX, Tries};
use self::error::CallError;
use self::follow::Follower;
use self::messages::{RangeRequest, TxnResponse, everything, revision};
use self::pending::{Pending, Ticket};
use self::value::Origin;
use super::shared::Shared;
use super::{Backend, Observer};
use crate::{CommitError, Committed, Guard, Kv, Page, ReadError, Revision, Watch, Write};
use futures::future::BoxFuture;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long the watch may be behind a commit before another member is watched.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// Why an etcd could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("read all keys of etcd")]
pub struct EtcdOpenError(#[source] io::Error);

impl From<CallError> for EtcdOpenError {
    fn from(error: CallError) -> EtcdOpenError {
        EtcdOpenError(error.into())
    }
}

/// The backend; dropped or closed, it lets go of etcd.
pub struct Etcd {
    client: Arc<Client>,
    shared: Arc<Shared>,
    pending: Pending,
    origin: Origin,
    doubt: Arc<Notify>,
    tasks: [AbortHandle; 2],
    /// How many questions for the latest revision have begun.
    asked: AtomicU64,
    /// The number of the last such question that was answered; whoever holds the lock asks.
    answered: Mutex<u64>,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Etcd {
    /// Reads all keys, and follows from there on.
    ///
    /// # Errors
    /// When no member answers, or the keys cannot be read.
    pub async fn open(config: EtcdConfig) -> Result<Etcd, EtcdOpenError> {
        let client = Arc::new(Client::new(config));
        let origin = load::origin(&client).await?;
        let (mvcc, latest) = load::past(&client, origin).await?;
        let shared = Arc::new(Shared::new(mvcc));
        let pending = Pending::new(process_number());
        let doubt = Arc::new(Notify::new());
        let follower = Follower {
            client: Arc::clone(&client),
            shared: Arc::clone(&shared),
            pending: pending.clone(),
            origin,
            doubt: Arc::clone(&doubt),
        };
        let tasks = [
            tokio::spawn(follower.run()).abort_handle(),
            tokio::spawn(compact::run(Arc::clone(&client))).abort_handle(),
        ];
        let (asked, answered) = (AtomicU64::new(0), Mutex::new(0));
        let etcd = Etcd { client, shared, pending, origin, doubt, tasks, asked, answered };
        etcd.reach(latest).await;
        Ok(etcd)
    }

    /// Waits until readers see a revision that etcd has.
    async fn reach(&self, revision: Revision) {
        let mut latest = self.shared.subscribe();
        loop {
            let there = latest.wait_for(|latest| *latest >= revision || self.shared.ended());
            if timeout(BEHIND_MAX, there).await.is_ok() {
                return;
            }
            self.doubt.notify_one();
        }
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Committed, CommitError> {
        if self.shared.ended() {
            return Err(CommitError::Closed);
        }
        let ticket = self.pending.begin(&writes);
        let question = commit::transaction(&writes, ticket.author(), self.origin)?;
        // Without a guard, a second try could write over what came after the first.
        let guarded = writes.iter().any(|write| write.guard() != Guard::Any);
        let mut tries = Tries::begin();
        let mut doubtful = false;
        loop {
            let answer = self.client.attempt("KV/Txn", &question, TRY_TIME_MAX).await;
            match answer {
                Ok(answer) => return self.settle(&writes, answer, &ticket, doubtful).await,
                Err(error) => {
                    doubtful |= error.is_doubtful();
                    if doubtful && !guarded {
                        return Err(failed(error));
                    }
                    tries.again(error).await.map_err(failed)?;
                }
            }
            if let Some(revision) = ticket.seen() {
                return self.committed(revision).await;
            }
        }
    }

    /// What a transaction's answer means; `doubtful` when an earlier try of it may have happened.
    async fn settle(
        &self,
        writes: &[Write],
        answer: TxnResponse,
        ticket: &Ticket,
        doubtful: bool,
    ) -> Result<Committed, CommitError> {
        let revision = self.origin.revision(revision(answer.header.as_ref()));
        self.reach(revision).await;
        if answer.succeeded && !commit::changed(writes, &answer.responses) {
            return Ok(Committed { revision, events: Vec::new() });
        }
        if answer.succeeded {
            return self.committed(revision).await;
        }
        if let Some(revision) = ticket.seen() {
            return self.committed(revision).await;
        }
        let (index, current) = commit::conflict(writes, answer.responses, self.origin)
            .ok_or_else(|| lost("etcd refuses a transaction whose conditions hold"))?;
        if doubtful && current.is_none() {
            return Err(lost("whether the key was removed by this or by another write is unknown"));
        }
        Err(CommitError::Conflict { index, current: current.map(Box::new) })
    }

    /// The events of a commit that was done.
    async fn committed(&self, revision: Revision) -> Result<Committed, CommitError> {
        self.reach(revision).await;
        let state = self.shared.read();
        let before = Revision(revision.0.saturating_sub(1));
        let events = state.mvcc.events_after(before);
        let events =
            events.map_err(|_| lost("it was done, but what it changed is forgotten already"))?;
        let events = events.take_while(|event| event.revision == revision).cloned().collect();
        Ok(Committed { revision, events })
    }

    async fn catch_up(&self) -> Result<(), ReadError> {
        let wanted = self.asked.load(Ordering::SeqCst) + 1;
        let mut answered = self.answered.lock().await;
        // A question that began after this call was answered while it waited.
        if *answered >= wanted {
            return Ok(());
        }
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let (key, _) = everything();
        let question = RangeRequest { key, count_only: true, ..RangeRequest::default() };
        let answer = self.client.range(&question, TRY_TIME_MAX).await;
        let answer = answer.map_err(|error| ReadError::Unavailable(Arc::new(error.into())))?;
        self.reach(self.origin.revision(revision(answer.header.as_ref()))).await;
        *answered = number;
        Ok(())
    }

    fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.end();
    }
}

fn failed(error: CallError) -> CommitError {
    CommitError::Io(Arc::new(error.into()))
}

fn lost(what: &'static str) -> CommitError {
    CommitError::Io(Arc::new(io::Error::other(what)))
}

/// A number that no other process has.
fn process_number() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    // The standard library's only source of chance.
    RandomState::new().build_hasher().finish()
}

impl Backend for Etcd {
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(self.transact(writes))
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
        Box::pin(async move {
            compact::compact_whole(&self.client, self.origin.etcd(to)).await.map_err(failed)?;
            self.shared.publish(&[], Some(to));
            Ok(())
        })
    }

    fn attach(&self, observer: Arc<dyn Observer>) {
        self.shared.attach(observer);
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn fresh(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(self.catch_up())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.stop() })
    }
}
