//! All objects of one resource, what happened to them lately, and who watches.

use super::change::{Change, WatchEvent};
use super::header::Header;
use super::hub::Hub;
use super::key::{object_key, resource_prefix};
use super::list::{ListRequest, Listing, Past};
use super::object::Object;
use super::progress::Progress;
use super::selection::Selection;
use super::tree::Tree;
use super::watch::{Watch, WatchFrom};
use crate::seal::Rule;
use coracle_api::registry::Kind;
use coracle_api::status::Status;
use coracle_store::{Event, Kv, Mvcc, Revision};
use parking_lot::{Mutex, RwLock};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// The cache of one resource.
///
/// A read sees every commit that was acknowledged before it began, because commits are applied here first.
pub struct ResourceCache {
    kind: &'static Kind,
    prefix: String,
    progress: Arc<Progress>,
    sealed: Option<Arc<Rule>>,
    state: RwLock<State>,
    hub: Mutex<Hub>,
    past: Mutex<Past>,
}

/// The state of one resource.
#[derive(Default)]
pub(super) struct State {
    /// The objects now.
    pub(super) tree: Tree,
    /// The last revision at which one of them changed.
    pub(super) changed: Revision,
    /// What happened, oldest first, as far back as the store's own history.
    pub(super) history: VecDeque<Arc<Change>>,
    /// History up to and with this revision is gone.
    pub(super) compacted: Revision,
    /// Changes that watches do not know yet.
    unsent: Vec<Arc<Change>>,
}

/// All objects of a resource at one revision; unaffected by what comes after.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The objects.
    pub(super) tree: Tree,
    /// The revision.
    pub(super) revision: Revision,
}

impl ResourceCache {
    pub(super) fn new(
        kind: &'static Kind,
        progress: Arc<Progress>,
        sealed: Option<Arc<Rule>>,
    ) -> ResourceCache {
        ResourceCache {
            kind,
            prefix: resource_prefix(kind.group, kind.plural),
            progress,
            sealed,
            state: RwLock::default(),
            hub: Mutex::default(),
            past: Mutex::default(),
        }
    }

    /// The kind of the objects.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The prefix of the objects' keys in the store.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.state.read().tree.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last revision at which one of the objects changed.
    pub fn changed(&self) -> Revision {
        self.state.read().changed
    }

    /// How many watches are open.
    pub fn watches(&self) -> usize {
        self.hub.lock().len()
    }

    /// One object, at the latest revision; `namespace` is ignored for kinds without namespaces.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let key = object_key(self.kind, namespace, name);
        self.state.read().tree.get(&key).cloned()
    }

    /// The objects of a selection, at the latest revision.
    pub fn select(&self, selection: &Selection) -> Vec<Arc<Object>> {
        let snapshot = self.latest();
        super::list::select(&snapshot.tree, &self.prefix, selection, None).cloned().collect()
    }

    /// A page of the objects of a selection.
    ///
    /// # Errors
    /// 400 for a broken continue token, 410 when the revision is gone, 504 when it is still to come.
    pub fn list(&self, request: &ListRequest) -> Result<Listing, Status> {
        super::list::list(self, request)
    }

    /// Opens a watch.
    ///
    /// # Errors
    /// 410 when the history after the given revision is gone.
    pub fn watch(self: &Arc<Self>, selection: Selection, from: WatchFrom) -> Result<Watch, Status> {
        // The hub is locked first: a change is in the state, or will be fanned out, or both, and then it is skipped.
        let mut hub = self.hub.lock();
        let published = self.progress.published();
        let state = self.state.read();
        let now = state.changed.max(published);
        let (initial, replay, revision) = match from {
            WatchFrom::Current => {
                let objects = super::list::select(&state.tree, &self.prefix, &selection, None);
                (objects.cloned().collect(), VecDeque::new(), now)
            }
            WatchFrom::Now => (Vec::new(), VecDeque::new(), now),
            WatchFrom::After(after) => (Vec::new(), state.replay(after, &selection)?, after),
        };
        let (ticket, receiver) = hub.subscribe(selection, state.changed.max(revision));
        drop((state, hub));
        Ok(Watch::new(Arc::clone(self), ticket, receiver, initial, replay, revision))
    }

    pub(super) fn hub(&self) -> &Mutex<Hub> {
        &self.hub
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(super) fn past(&self) -> &Mutex<Past> {
        &self.past
    }

    pub(super) fn state(&self) -> &RwLock<State> {
        &self.state
    }

    /// The objects now. The published revision is read first, so that the objects are never older than it says.
    pub(super) fn latest(&self) -> Snapshot {
        let published = self.progress.published();
        let state = self.state.read();
        Snapshot { tree: state.tree.clone(), revision: published.max(state.changed) }
    }

    /// Fills the cache: the objects as they were at the end of the compacted past.
    pub(super) fn start(&self, mvcc: &Mvcc) {
        let compacted = mvcc.compacted();
        let page = mvcc.range(self.prefix.as_bytes(), None, 0, Some(compacted));
        // The compacted revision is always readable, so the error never comes.
        let items = page.map(|page| page.items).unwrap_or_default();
        let object = |kv: &Kv| Arc::new(Object::new(self.kind, &self.opened(kv), None));
        let objects = super::fill::each(&items, object);
        let mut state = self.state.write();
        for object in objects {
            state.changed = state.changed.max(object.revision);
            state.tree.insert(object);
        }
        state.compacted = compacted;
    }

    /// Shows an object in another form, unless it has changed since.
    pub(super) fn replace(&self, object: Object) {
        let mut state = self.state.write();
        if state.tree.get(&object.key).is_some_and(|now| now.revision == object.revision) {
            state.tree.insert(Arc::new(object));
        }
    }

    /// Makes events visible to readers, all at once.
    pub(super) fn apply(&self, events: &[Arc<Event>]) {
        let mut state = self.state.write();
        for event in events {
            let change = self.change(&state.tree, event);
            match &change.current {
                Some(object) => state.tree.insert(Arc::clone(object)),
                None => state.tree.remove(&event.key),
            }
            state.changed = event.revision;
            state.history.push_back(Arc::clone(&change));
            state.unsent.push(change);
        }
    }

    /// The value as it was before it was sealed.
    fn opened<'a>(&self, kv: &'a Kv) -> Cow<'a, Kv> {
        match &self.sealed {
            Some(rule) => Cow::Owned(rule.open(kv)),
            None => Cow::Borrowed(kv),
        }
    }

    fn change(&self, tree: &Tree, event: &Event) -> Arc<Change> {
        let header =
            event.note.as_ref().and_then(|note| Arc::clone(&note.0).downcast::<Header>().ok());
        if let (Some(rule), None) = (&self.sealed, &event.current) {
            rule.forget(&event.key);
        }
        let object = |kv| Arc::new(Object::new(self.kind, &self.opened(kv), header));
        let current = event.current.as_ref().map(object);
        Arc::new(Change::new(event.revision, current, tree.get(&event.key).cloned()))
    }

    /// Forgets the history up to and with a revision.
    pub(super) fn compact(&self, to: Revision) {
        let mut state = self.state.write();
        if state.compacted >= to {
            return;
        }
        state.compacted = to;
        while state.history.pop_front_if(|change| change.revision <= to).is_some() {}
        drop(state);
        self.past.lock().compact(to);
    }

    /// Gives the watches what was applied since the last time.
    pub(super) fn fan_out(&self) {
        let unsent = std::mem::take(&mut self.state.write().unsent);
        if unsent.is_empty() {
            return;
        }
        let mut hub = self.hub.lock();
        for change in &unsent {
            hub.fan_out(change);
        }
    }
}

impl State {
    /// What a selection shows of the history after a revision.
    fn replay(
        &self,
        after: Revision,
        selection: &Selection,
    ) -> Result<VecDeque<WatchEvent>, Status> {
        if after < self.compacted {
            let compacted = self.compacted;
            return Err(Status::resource_expired(format!(
                "too old resource version: {after} ({compacted})"
            )));
        }
        let start = self.history.partition_point(|change| change.revision <= after);
        let later = self.history.range(start..);
        Ok(later.filter_map(|change| WatchEvent::of(change, selection)).collect())
    }
}
