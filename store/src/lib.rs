//! Revisions, optimistic writes and watch over bytes: what etcd is to Kubernetes.
//!
//! One store holds the whole cluster. A commit is a list of guarded writes that happen together at the next
//! [`Revision`], and it is acknowledged when it is on disk. Readers see commits in their order and see a commit before
//! its writer does. [`Mvcc`] is the pure core: what is there, what happened, what a commit would do. A [`Backend`] runs
//! it: in memory, over a redb file, or in an etcd that several processes share.
//!
//! Never here: kinds of objects, JSON, HTTP.

pub mod backend;
mod error;
mod event;
mod mvcc;
mod retention;
mod revision;
mod snapshot;
mod store;
mod watch;
mod write;

pub use backend::{Backend, EtcdConfig, EtcdConfigError, EtcdImportError, EtcdOpenError, Observer};
pub use error::{CommitError, OpenError, ReadError};
pub use event::{Committed, Event, Kv, Page};
pub use mvcc::{Batch, LoggedChange, Mvcc};
pub use retention::{HISTORY_AGE_MAX, HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};
pub use revision::Revision;
pub use snapshot::{REVISIONS_LEFT_OUT, Snapshot, SnapshotError};
pub use store::Store;
pub use watch::{Watch, WatchItem};
pub use write::{COMMIT_WRITES_MAX, Content, Guard, Note, Write, stamp};
