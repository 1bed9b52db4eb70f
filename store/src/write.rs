//! What goes into a commit: writes with their guards, and the place where a value wants its own revision.

use crate::Revision;
use bytes::Bytes;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Writes that one commit may have where the store is an etcd with its usual limits; one of them is left to callers.
///
/// *Source:* etcd's `--max-txn-ops`, 128.
pub const COMMIT_WRITES_MAX: usize = 100;

/// What must be true of a key for its write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Nothing: the write always happens.
    Any,
    /// The key must not exist.
    Absent,
    /// The key must exist and have been written last at this revision.
    At(Revision),
}

/// Something that the writer knows about a value and readers of the event may reuse instead of parsing the value.
///
/// Lives in memory only: events that were loaded from disk have none.
#[derive(Clone)]
pub struct Note(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Note")
    }
}

/// A value as its writer gives it.
#[derive(Debug, Clone)]
pub struct Content {
    /// The bytes, without the revision.
    pub bytes: Bytes,
    /// Byte offset in `bytes` at which the store writes the commit's revision in decimal; `None` writes it nowhere.
    ///
    /// Only the sequencer knows the revision, and a value that holds it need not be spliced again by each reader.
    pub stamp: Option<u32>,
    /// What goes with the event to observers in this process.
    pub note: Option<Note>,
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Content {
        Content { bytes, stamp: None, note: None }
    }
}

/// One write of a commit.
#[derive(Debug, Clone)]
pub enum Write {
    /// Makes or replaces a key.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        content: Content,
        /// What must be true of the key now.
        guard: Guard,
    },
    /// Removes a key; with [`Guard::Any`], one that does not exist is no error and makes no event.
    Delete {
        /// The key.
        key: Bytes,
        /// What must be true of the key now.
        guard: Guard,
    },
}

impl Write {
    /// A write of plain bytes or of a [`Content`].
    pub fn put(key: impl Into<Bytes>, content: impl Into<Content>, guard: Guard) -> Write {
        Write::Put { key: key.into(), content: content.into(), guard }
    }

    /// A removal.
    pub fn delete(key: impl Into<Bytes>, guard: Guard) -> Write {
        Write::Delete { key: key.into(), guard }
    }

    /// The key that is written.
    pub fn key(&self) -> &Bytes {
        match self {
            Write::Put { key, .. } | Write::Delete { key, .. } => key,
        }
    }

    /// What must be true of the key.
    pub fn guard(&self) -> Guard {
        match self {
            Write::Put { guard, .. } | Write::Delete { guard, .. } => *guard,
        }
    }
}

/// Writes `revision` into `bytes` at the offset `stamp`; an offset past the end writes it at the end.
pub fn stamp(bytes: &[u8], stamp: u32, revision: Revision) -> Bytes {
    let digits = revision.to_string();
    let (before, after) = bytes.split_at(bytes.len().min(stamp as usize));
    [before, digits.as_bytes(), after].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_the_revision_into_the_value() {
        let check = |bytes: &str, at, expected: &str| {
            assert_eq!(stamp(bytes.as_bytes(), at, Revision(120)), expected.as_bytes());
        };
        check(r#"{"v":""}"#, 6, r#"{"v":"120"}"#);
        check("", 0, "120");
        check("ab", 9, "ab120");
    }
}
