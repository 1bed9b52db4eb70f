//! The handle that everybody holds.

use crate::backend::{Backend, Etcd, EtcdConfig, EtcdOpenError, Memory, Observer, Redb, Sequencer};
use crate::{
    CommitError, Committed, Kv, OpenError, Page, ReadError, Revision, Snapshot, Watch, Write,
};
use std::path::Path;
use std::sync::Arc;

/// A store; clones are the same store.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

impl Store {
    /// A store in memory, empty.
    pub fn memory() -> Store {
        Store::over(Sequencer::start(crate::Mvcc::default(), Memory::default()))
    }

    /// The store in a redb file, which is made when it is not there; its folder must exist.
    ///
    /// Blocks while the file is read: all of it is in memory afterwards.
    ///
    /// # Errors
    /// When another process has the file, when the disk fails, or when it is no store of ours.
    pub fn open_redb(path: impl AsRef<Path>) -> Result<Store, OpenError> {
        let (mvcc, journal) = Redb::open(path.as_ref())?;
        Ok(Store::over(Sequencer::start(mvcc, journal)))
    }

    /// The store in an etcd that this and other processes share; needs a tokio runtime, which goes on with its watch.
    ///
    /// All of it is in memory when this returns.
    ///
    /// # Errors
    /// When no member of etcd can be reached, or it refuses.
    pub async fn open_etcd(config: EtcdConfig) -> Result<Store, EtcdOpenError> {
        Ok(Store::over(Etcd::open(config).await?))
    }

    /// A store over any backend.
    pub fn over(backend: impl Backend + 'static) -> Store {
        Store { backend: Arc::new(backend) }
    }

    /// Does all writes at one revision, or none of them.
    ///
    /// When it returns, the commit is on disk, visible to every reader and known to every observer. Dropping the future
    /// early does not take the commit back.
    ///
    /// # Errors
    /// See [`CommitError`]; only [`CommitError::Io`] leaves open whether the commit happened.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Committed, CommitError> {
        self.backend.commit(writes).await
    }

    /// What a key holds at the latest revision.
    ///
    /// # Errors
    /// None over the backends of this process.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Kv>, ReadError> {
        self.backend.get(key).await
    }

    /// A page of the keys with a prefix, in byte order, as they are or as they were at a revision.
    ///
    /// `start_after` leaves out the keys up to and with it; `limit` 0 means no limit.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] and [`ReadError::Future`] by the revision.
    pub async fn range(
        &self,
        prefix: &[u8],
        start_after: Option<&[u8]>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, ReadError> {
        self.backend.range(prefix, start_after, limit, at).await
    }

    /// All keys at the latest revision, while others write on.
    ///
    /// # Errors
    /// None over the backends of this process.
    pub async fn snapshot(&self) -> Result<Snapshot, ReadError> {
        Ok(self.range(b"", None, 0, None).await?.into())
    }

    /// Whether other processes write too.
    pub fn is_shared(&self) -> bool {
        self.backend.is_shared()
    }

    /// Waits until reads see every commit that was acknowledged before this call, also by other processes.
    ///
    /// Costs nothing where this process is the only writer. Cancel safe.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when the other processes' place cannot be asked.
    pub async fn fresh(&self) -> Result<(), ReadError> {
        if self.backend.is_shared() { self.backend.fresh().await } else { Ok(()) }
    }

    /// The latest revision that reads see.
    pub fn revision(&self) -> Revision {
        self.backend.revision()
    }

    /// The events of a prefix after a revision: each once, in order.
    pub fn watch(&self, prefix: &[u8], after: Revision) -> Watch {
        self.backend.watch(prefix, after)
    }

    /// Forgets the history up to and with a revision. The store also does so by itself, by age and size.
    ///
    /// # Errors
    /// When the disk failed or the store is closed.
    pub async fn compact(&self, to: Revision) -> Result<(), CommitError> {
        self.backend.compact(to).await
    }

    /// Tells an observer of everything that is there and, before it is acknowledged, of every commit from then on.
    pub fn attach(&self, observer: Arc<dyn Observer>) {
        self.backend.attach(observer);
    }

    /// Finishes what is queued and closes the file; later commits fail with [`CommitError::Closed`], reads go on.
    pub async fn close(&self) {
        self.backend.close().await;
    }
}
