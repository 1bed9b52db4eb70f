//! The commits of this process that are under way: what goes with their events, and whether they were seen. Pure but for
//! its lock.
//!
//! A commit whose answer was lost is recognised by its author when its event comes.

use crate::write::Note;
use crate::{Revision, Write};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

use super::value::Author;

#[derive(Default)]
struct Open {
    notes: HashMap<Bytes, Note>,
    seen: Option<Revision>,
}

#[derive(Default)]
struct Table {
    last: u64,
    open: HashMap<u64, Open>,
}

/// The commits that are under way; clones are the same.
#[derive(Clone)]
pub(super) struct Pending {
    process: u64,
    table: Arc<Mutex<Table>>,
}

impl Pending {
    /// None yet, for a process with this number.
    pub(super) fn new(process: u64) -> Pending {
        Pending { process, table: Arc::default() }
    }

    /// A commit begins; it ends when the ticket is dropped.
    pub(super) fn begin(&self, writes: &[Write]) -> Ticket {
        let notes = writes.iter().filter_map(|write| match write {
            Write::Put { key, content, .. } => Some((key.clone(), content.note.clone()?)),
            Write::Delete { .. } => None,
        });
        let open = Open { notes: notes.collect(), seen: None };
        let mut table = self.table.lock();
        table.last += 1;
        let number = table.last;
        table.open.insert(number, open);
        Ticket { pending: self.clone(), number }
    }

    /// A value of an author was seen at a revision; what its writer knows of it, if that was here.
    pub(super) fn saw(&self, author: Author, revision: Revision, key: &Bytes) -> Option<Note> {
        if author.process != self.process {
            return None;
        }
        let mut table = self.table.lock();
        let open = table.open.get_mut(&author.number)?;
        open.seen = Some(revision);
        open.notes.get(key).cloned()
    }
}

/// A commit that is under way.
pub(super) struct Ticket {
    pending: Pending,
    number: u64,
}

impl Ticket {
    /// What its values are marked with.
    pub(super) fn author(&self) -> Author {
        Author { process: self.pending.process, number: self.number }
    }

    /// At which revision its event was seen, if it was.
    pub(super) fn seen(&self) -> Option<Revision> {
        self.pending.table.lock().open.get(&self.number).and_then(|open| open.seen)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pending.table.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Guard};

    #[test]
    fn a_commit_is_known_again_by_its_author_while_it_is_under_way() {
        let pending = Pending::new(7);
        let note = Note(Arc::new("known"));
        let content = Content { bytes: Bytes::new(), stamp: None, note: Some(note) };
        let ticket = pending.begin(&[Write::put("k", content, Guard::Absent)]);
        let (author, key) = (ticket.author(), Bytes::from("k"));
        assert!(ticket.seen().is_none());
        let other = Author { process: 8, ..author };
        assert!(pending.saw(other, Revision(4), &key).is_none());
        assert!(ticket.seen().is_none());
        assert!(pending.saw(author, Revision(5), &key).is_some());
        assert_eq!(ticket.seen(), Some(Revision(5)));
        drop(ticket);
        assert!(pending.saw(author, Revision(5), &key).is_none());
        assert_ne!(pending.begin(&[]).author(), author);
    }
}
