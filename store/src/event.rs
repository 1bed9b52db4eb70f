//! What comes out of the store: keys with their values, pages of them, and the events of commits.

use crate::{Note, Revision};
use bytes::Bytes;
use std::sync::Arc;

/// A key with its value at some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kv {
    /// The key.
    pub key: Bytes,
    /// The value, with its revision written in where the writer asked for it.
    pub value: Bytes,
    /// The revision at which the key came into being.
    pub created: Revision,
    /// The revision of the last write.
    pub modified: Revision,
    /// Byte offset of the decimal `modified` in `value`, where there is one.
    pub stamp: Option<u32>,
}

/// One change of one key.
#[derive(Debug, Clone)]
pub struct Event {
    /// The revision of the commit; several events share it when the commit wrote several keys.
    pub revision: Revision,
    /// The key.
    pub key: Bytes,
    /// What the key holds now; `None` when it was removed.
    pub current: Option<Kv>,
    /// What the key held before; `None` when it was made.
    pub previous: Option<Kv>,
    /// What the writer sent along; `None` for removals and for events that were loaded from disk.
    pub note: Option<Note>,
}

impl Event {
    /// The value after the change; `None` when the key was removed.
    pub fn value(&self) -> Option<&Bytes> {
        self.current.as_ref().map(|kv| &kv.value)
    }
}

/// What a commit did.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The commit's revision; when nothing changed, the store's revision at that moment.
    pub revision: Revision,
    /// One event per key that changed, in the order of the writes.
    pub events: Vec<Arc<Event>>,
}

/// One page of a range, in byte order of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys of this page.
    pub items: Vec<Kv>,
    /// The revision that the page shows; ask for the next page at this one.
    pub revision: Revision,
    /// How many keys of the prefix follow this page.
    pub remaining: usize,
}
