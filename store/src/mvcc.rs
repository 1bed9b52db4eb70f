//! The pure core: every key's present value, the events of the recent past, and what a commit would do.
//!
//! A commit has two halves so that a disk can stand between them: [`Mvcc::stage`] decides against the present and the
//! commits staged before it, [`Mvcc::apply`] makes the staged ones the present.

use crate::{
    CommitError, Committed, Event, Guard, Kv, Note, Page, ReadError, Revision, Write, stamp,
};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// What an event costs in the history beyond its values: the structs and the queue's slot.
const EVENT_BYTES: usize = 300;

/// All keys at the present revision, and the history back to the compacted one.
///
/// Values are shared, not copied: an event, its key and every reader hold the same bytes.
#[derive(Debug)]
pub struct Mvcc {
    keys: BTreeMap<Bytes, Kv>,
    history: VecDeque<Arc<Event>>,
    history_bytes: usize,
    revision: Revision,
    compacted: Revision,
}

/// Commits that were decided and are not yet visible.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) commits: Vec<Committed>,
    latest: BTreeMap<Bytes, Option<Kv>>,
    /// The history up to and with this revision goes when the batch is applied.
    pub compact_to: Option<Revision>,
}

impl Batch {
    /// The staged commits, oldest first; empty ones only from [`Mvcc::follow`].
    pub fn commits(&self) -> &[Committed] {
        &self.commits
    }

    /// What each written key holds after the batch; `None` when it is gone. In byte order.
    pub fn latest(&self) -> impl Iterator<Item = (&Bytes, Option<&Kv>)> {
        self.latest.iter().map(|(key, kv)| (key, kv.as_ref()))
    }

    /// Whether applying the batch would change nothing.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.compact_to.is_none()
    }
}

/// One change as a log keeps it; what the key held before follows from what came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedChange {
    /// The key.
    pub key: Bytes,
    /// What the key holds after the change; `None` when it was removed.
    pub current: Option<Kv>,
}

impl Default for Mvcc {
    fn default() -> Mvcc {
        Mvcc {
            keys: BTreeMap::new(),
            history: VecDeque::new(),
            history_bytes: 0,
            revision: Revision::FIRST,
            compacted: Revision(0),
        }
    }
}

impl Mvcc {
    /// Rebuilds the core from its keys as they were before the log, and the log of the commits since, oldest first.
    pub fn restore(items: Vec<Kv>, log: Vec<(Revision, Vec<LoggedChange>)>) -> Mvcc {
        let newest = items.iter().map(|kv| kv.modified).max().unwrap_or(Revision::FIRST);
        let before_log = log.first().map_or(newest, |(first, _)| Revision(first.0 - 1));
        // Nothing happened up to the first revision, so nothing of it can be missing.
        let compacted = if before_log > Revision::FIRST { before_log } else { Revision(0) };
        let keys = items.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        let mut mvcc = Mvcc { keys, revision: newest, compacted, ..Mvcc::default() };
        for (revision, changes) in log {
            let event = |LoggedChange { key, current }| {
                let previous = mvcc.keys.get(&key).cloned();
                Arc::new(Event { revision, key, current, previous, note: None })
            };
            let events = changes.into_iter().map(event).collect();
            mvcc.apply(&[Committed { revision, events }], None);
        }
        mvcc
    }

    /// A core that begins with these keys as they are at a revision, and knows nothing of before.
    pub fn at(items: Vec<Kv>, revision: Revision) -> Mvcc {
        let keys = items.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        // Nothing happened up to the first revision, so nothing of it can be missing.
        let compacted = if revision > Revision::FIRST { revision } else { Revision(0) };
        Mvcc { keys, revision, compacted, ..Mvcc::default() }
    }

    /// Adds to a batch what happened elsewhere at a revision, which must be later than all before; it may be nothing
    /// that is kept here.
    pub fn follow(
        &self,
        batch: &mut Batch,
        revision: Revision,
        changes: impl IntoIterator<Item = (LoggedChange, Option<Note>)>,
    ) {
        let mut events = Vec::new();
        for (LoggedChange { key, current }, note) in changes {
            let previous = self.staged(batch, &key).cloned();
            if previous.is_none() && current.is_none() {
                continue;
            }
            batch.latest.insert(key.clone(), current.clone());
            events.push(Arc::new(Event { revision, key, current, previous, note }));
        }
        batch.commits.push(Committed { revision, events });
    }

    /// The revision of the last commit.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The oldest revision at which can be read and after which can be watched.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// How many events the history holds.
    pub fn history_len(&self) -> usize {
        self.history.len()
    }

    /// What the history holds in memory, about: the values that nothing else holds.
    pub fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    /// The revision of the event at this place in the history, 0 the oldest.
    pub fn history_revision(&self, index: usize) -> Option<Revision> {
        self.history.get(index).map(|event| event.revision)
    }

    /// What a key holds now.
    pub fn get(&self, key: &[u8]) -> Option<&Kv> {
        self.keys.get(key)
    }

    /// All keys that begin with `prefix`, in byte order.
    pub fn scan<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = &'a Kv> {
        self.scan_after(prefix, None)
    }

    fn scan_after<'a>(
        &'a self,
        prefix: &'a [u8],
        start_after: Option<&[u8]>,
    ) -> impl Iterator<Item = &'a Kv> + use<'a> {
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        self.keys
            .range::<[u8], _>((start, Bound::Unbounded))
            .map(|(_, kv)| kv)
            .take_while(move |kv| kv.key.starts_with(prefix))
    }

    /// A page of the keys with a prefix, as they were at `at` or are now.
    ///
    /// `start_after` leaves out the keys up to and with it; `limit` 0 means no limit. The past is made from the present
    /// by undoing events, so it costs as much as happened since.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] and [`ReadError::Future`] by the revision.
    pub fn range(
        &self,
        prefix: &[u8],
        start_after: Option<&[u8]>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, ReadError> {
        let revision = at.unwrap_or(self.revision);
        self.readable(revision)?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        if revision == self.revision {
            return Ok(page(self.scan_after(prefix, start_after).cloned(), limit, revision));
        }
        let mut then: BTreeMap<Bytes, Kv> =
            self.scan_after(prefix, start_after).map(|kv| (kv.key.clone(), kv.clone())).collect();
        let wanted = |key: &[u8]| key.starts_with(prefix) && start_after.is_none_or(|a| key > a);
        for event in self.history.iter().rev().take_while(|event| event.revision > revision) {
            match &event.previous {
                Some(kv) if wanted(&event.key) => then.insert(event.key.clone(), kv.clone()),
                Some(_) | None => then.remove(&event.key),
            };
        }
        Ok(page(then.into_values(), limit, revision))
    }

    fn readable(&self, asked: Revision) -> Result<(), ReadError> {
        if asked > self.revision {
            return Err(ReadError::Future { asked, current: self.revision });
        }
        if asked < self.compacted {
            return Err(ReadError::Compacted { asked, compacted: self.compacted });
        }
        Ok(())
    }

    /// The events after a revision, oldest first, over all keys.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] when some of them are gone. A future revision has no events yet.
    pub fn events_after(
        &self,
        after: Revision,
    ) -> Result<impl Iterator<Item = &Arc<Event>>, ReadError> {
        if after < self.compacted {
            return Err(ReadError::Compacted { asked: after, compacted: self.compacted });
        }
        let start = self.history.partition_point(|event| event.revision <= after);
        Ok(self.history.range(start..))
    }

    /// Decides a commit against the present and the commits already in the batch, and adds it to the batch.
    ///
    /// A commit that changes nothing (it only removes keys that do not exist) takes no revision.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when a guard does not hold, [`CommitError::Twice`] when a key is written twice; the
    /// batch is as before.
    pub fn stage(&self, batch: &mut Batch, writes: Vec<Write>) -> Result<Committed, CommitError> {
        self.check(batch, &writes)?;
        let latest = batch.commits.last().map_or(self.revision, |commit| commit.revision);
        let revision = latest.next();
        let events: Vec<Arc<Event>> = writes
            .into_iter()
            .filter_map(|write| self.stage_write(batch, write, revision))
            .map(Arc::new)
            .collect();
        if events.is_empty() {
            return Ok(Committed { revision: latest, events });
        }
        let committed = Committed { revision, events };
        batch.commits.push(committed.clone());
        Ok(committed)
    }

    fn staged<'a>(&'a self, batch: &'a Batch, key: &Bytes) -> Option<&'a Kv> {
        match batch.latest.get(key) {
            Some(staged) => staged.as_ref(),
            None => self.keys.get(key),
        }
    }

    fn check(&self, batch: &Batch, writes: &[Write]) -> Result<(), CommitError> {
        let mut seen = HashSet::new();
        for (index, write) in writes.iter().enumerate() {
            if writes.len() > 1 && !seen.insert(write.key()) {
                return Err(CommitError::Twice { index });
            }
            let current = self.staged(batch, write.key());
            let holds = match write.guard() {
                Guard::Any => true,
                Guard::Absent => current.is_none(),
                Guard::At(revision) => current.is_some_and(|kv| kv.modified == revision),
            };
            if !holds {
                let current = current.cloned().map(Box::new);
                return Err(CommitError::Conflict { index, current });
            }
        }
        Ok(())
    }

    fn stage_write(&self, batch: &mut Batch, write: Write, revision: Revision) -> Option<Event> {
        let previous = self.staged(batch, write.key()).cloned();
        let (key, current, note) = match write {
            Write::Delete { key, .. } => {
                previous.as_ref()?;
                (key, None, None)
            }
            Write::Put { key, content, .. } => {
                let value = match content.stamp {
                    Some(at) => stamp(&content.bytes, at, revision),
                    None => content.bytes,
                };
                let created = previous.as_ref().map_or(revision, |kv| kv.created);
                let stamp = content.stamp;
                let kv = Kv { key: key.clone(), value, created, modified: revision, stamp };
                (key, Some(kv), content.note)
            }
        };
        batch.latest.insert(key.clone(), current.clone());
        Some(Event { revision, key, current, previous, note })
    }

    /// Makes staged commits the present, and drops the history up to and with a revision.
    ///
    /// They must have been staged on this state.
    pub fn apply(&mut self, commits: &[Committed], compact_to: Option<Revision>) {
        for commit in commits {
            self.revision = commit.revision;
            for event in &commit.events {
                match &event.current {
                    Some(kv) => self.keys.insert(event.key.clone(), kv.clone()),
                    None => self.keys.remove(&event.key),
                };
                self.history_bytes += cost(event);
                self.history.push_back(Arc::clone(event));
            }
        }
        if let Some(to) = compact_to {
            self.compact(to);
        }
    }

    /// Forgets the history up to and with a revision; later than the present means all of it.
    pub fn compact(&mut self, to: Revision) {
        let to = to.min(self.revision);
        self.compacted = self.compacted.max(to);
        while let Some(event) = self.history.pop_front_if(|event| event.revision <= to) {
            self.history_bytes -= cost(&event);
        }
    }
}

/// What holding an event costs: its previous value lives only here.
fn cost(event: &Event) -> usize {
    EVENT_BYTES + event.previous.as_ref().map_or(0, |kv| kv.value.len())
}

fn page(mut items: impl Iterator<Item = Kv>, limit: usize, revision: Revision) -> Page {
    let taken: Vec<Kv> = items.by_ref().take(limit).collect();
    Page { items: taken, revision, remaining: items.count() }
}

#[cfg(test)]
mod tests;
