//! The published state of a backend: what its one publisher shares with readers, watches and observers.

use super::Observer;
use crate::mvcc::Mvcc;
use crate::{Committed, Revision};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// What readers see.
pub(crate) struct State {
    /// The published core.
    pub(crate) mvcc: Mvcc,
    observers: Vec<Arc<dyn Observer>>,
}

/// The state that a publisher shares with readers.
pub(crate) struct Shared {
    state: RwLock<State>,
    revision: watch::Sender<Revision>,
    /// Held while observers are told, so that they hear one thing after the other.
    publishing: Mutex<()>,
    /// No commit will come any more.
    ended: AtomicBool,
}

impl Shared {
    /// Shares a core.
    pub(crate) fn new(mvcc: Mvcc) -> Shared {
        Shared {
            revision: watch::Sender::new(mvcc.revision()),
            state: RwLock::new(State { mvcc, observers: Vec::new() }),
            publishing: Mutex::default(),
            ended: AtomicBool::new(false),
        }
    }

    /// Locks the state for reading; not to be held across waits.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// Tells of new revisions, and of the store's end.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// The latest revision that readers see.
    pub(crate) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Whether no commit will come any more.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Says that no commit will come any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.revision.send_modify(|_| {});
    }

    /// The oldest revision that can be watched from.
    pub(crate) fn compacted(&self) -> Revision {
        self.read().mvcc.compacted()
    }

    /// Tells an observer of what is there, and of what is published from then on.
    pub(crate) fn attach(&self, observer: Arc<dyn Observer>) {
        // Under the lock under which commits are applied: none falls between the start and the first publish.
        let mut state = self.state.write();
        observer.start(&state.mvcc);
        state.observers.push(observer);
    }

    /// Makes commits visible, forgets the history up to and with a revision, and gives the observers that were told.
    pub(crate) fn publish(
        &self,
        commits: &[Committed],
        compact_to: Option<Revision>,
    ) -> Vec<Arc<dyn Observer>> {
        let _turn = self.publishing.lock();
        let (observers, revision, compacted) = {
            let mut state = self.state.write();
            state.mvcc.apply(commits, compact_to);
            (state.observers.clone(), state.mvcc.revision(), state.mvcc.compacted())
        };
        for observer in &observers {
            observer.publish(commits, compacted);
        }
        self.revision.send_replace(revision);
        observers
    }
}
