//! How the store says no.

use crate::{Kv, Revision};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a commit did not happen, or may not have.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The guard of one write did not hold; nothing of the commit was written. Read again and retry.
    #[error("the guard of write {index} does not hold")]
    Conflict {
        /// Which write of the commit, from 0.
        index: usize,
        /// What its key holds; `None` when it does not exist.
        current: Option<Box<Kv>>,
    },
    /// One key is written twice by the same commit; nothing was written. The caller is wrong.
    #[error("write {index} of the commit has the key of an earlier one")]
    Twice {
        /// The second of the two, from 0.
        index: usize,
    },
    /// The disk failed. The commit may be on disk or not; the store reopens its file, now or with a later commit, and goes on
    /// when it can.
    #[error("write to the store")]
    Io(#[source] Arc<io::Error>),
    /// The store was closed, or its file misses commits that were acknowledged. Not worth a retry.
    #[error("the store is closed")]
    Closed,
}

impl CommitError {
    /// Whether the commit did not happen because the disk, or what the owner may use of it, is full.
    pub fn is_disk_full(&self) -> bool {
        let CommitError::Io(error) = self else { return false };
        let first: &(dyn std::error::Error + 'static) = error.as_ref();
        let mut causes = std::iter::successors(Some(first), |error| {
            // What an IO error wraps is not its source, but inside of it.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or(error.source())
        });
        causes.any(|error| {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
        })
    }
}

/// Why a read did not happen.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The history up to and with `compacted` is gone. Read at the current revision instead.
    #[error("revision {asked} has been compacted; the oldest is {compacted}")]
    Compacted {
        /// The revision that was asked for.
        asked: Revision,
        /// The oldest revision that can be read.
        compacted: Revision,
    },
    /// The revision lies in the future.
    #[error("revision {asked} has not happened yet; the latest is {current}")]
    Future {
        /// The revision that was asked for.
        asked: Revision,
        /// The store's revision.
        current: Revision,
    },
    /// The latest revision cannot be learned from where the store is. Worth a retry.
    #[error("ask for the latest revision")]
    Unavailable(#[source] Arc<io::Error>),
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the file.
    #[error("open the store {path}: another process has it open")]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("open the store {path}")]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The file is not one of ours, or of a format that this version does not know.
    #[error("open the store {path}: {what}")]
    Format {
        /// The store's file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
}
