//! Where a store lives.
//!
//! [`Backend`] is the whole of what the store asks from its place: commit, get, range, watch, compact, and a way to be
//! told of commits before their writers are. [`Sequencer`] is the backend of this process: the pure core run by one
//! writer thread over a [`Journal`], which is memory or a redb file. [`Etcd`] is the one that several processes share.

mod etcd;
mod memory;
pub(crate) mod record;
mod redb;
mod sequencer;
pub(crate) mod shared;

pub(crate) use self::etcd::ORIGIN;
pub use self::etcd::{
    ADDRESS_SCHEMES, Etcd, EtcdConfig, EtcdConfigError, EtcdImportError, EtcdOpenError,
};
pub use self::memory::Memory;
pub use self::redb::Redb;
pub use self::sequencer::{Sequencer, Turn, Writer};

use crate::{Batch, CommitError, Committed, Kv, Mvcc, Page, ReadError, Revision, Watch, Write};
use futures::future::BoxFuture;
use std::io;
use std::sync::Arc;

/// A place that keeps revisions: get, range, commit, watch and compact over bytes.
pub trait Backend: Send + Sync {
    /// Does all writes at one revision, or none; ready when they are durable and visible.
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, CommitError>>;

    /// What a key holds at the latest revision.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Kv>, ReadError>>;

    /// A page of the keys with a prefix; see [`Mvcc::range`].
    fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        start_after: Option<&'a [u8]>,
        limit: usize,
        at: Option<Revision>,
    ) -> BoxFuture<'a, Result<Page, ReadError>>;

    /// The latest revision that readers of this process can see.
    fn revision(&self) -> Revision;

    /// The events of a prefix after a revision.
    fn watch(&self, prefix: &[u8], after: Revision) -> Watch;

    /// Forgets the history up to and with a revision; ready when it is gone.
    fn compact(&self, to: Revision) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Tells an observer of everything that is there and of every commit from then on, without a gap.
    fn attach(&self, observer: Arc<dyn Observer>);

    /// Whether other processes write too.
    fn is_shared(&self) -> bool {
        false
    }

    /// Ready when readers of this process see every commit that any process acknowledged before this call.
    fn fresh(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Finishes what is queued, refuses what comes after, and lets go of files.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Someone in this process who must know of a commit before its writer does, such as a cache.
///
/// All calls come one after another. They hold up every writer, so they must be short and must not call the store.
pub trait Observer: Send + Sync {
    /// Called once, first: what there is, with the history.
    fn start(&self, mvcc: &Mvcc);

    /// Called with commits that are durable, in order, each exactly once, before they are acknowledged; the history up
    /// to and with `compacted` is gone.
    fn publish(&self, commits: &[Committed], compacted: Revision);

    /// Called after the commits of the last [`Observer::publish`] were acknowledged: for work that nobody waits for.
    fn acknowledged(&self) {}
}

/// What makes the sequencer's commits durable.
pub trait Journal: Send {
    /// Makes a batch durable: all of it or nothing.
    ///
    /// # Errors
    /// What the disk said; whether the batch is durable is then unknown until [`Journal::recover`] tells.
    fn append(&mut self, batch: &Batch) -> io::Result<()>;

    /// Puts the journal in order after a failed append, and gives the last durable revision.
    ///
    /// # Errors
    /// When the journal cannot be used again.
    fn recover(&mut self) -> io::Result<Revision>;
}
