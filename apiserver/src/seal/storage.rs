//! The store as the server sees it: what goes in is sealed, what comes out is open.

use super::Sealer;
use coracle_store::{
    CommitError, Committed, Event, Kv, Observer, ReadError, Revision, Snapshot, Store, Write,
};
use std::io;
use std::sync::Arc;

/// A store behind a sealer.
#[derive(Clone)]
pub(crate) struct Storage {
    store: Store,
    sealer: Sealer,
}

impl Storage {
    /// Seals what goes into a store.
    pub(crate) fn new(store: Store, sealer: Sealer) -> Storage {
        Storage { store, sealer }
    }

    /// Does all writes at one revision, or none; see [`Store::commit`].
    ///
    /// # Errors
    /// As the store's, and an IO error when a value cannot be sealed.
    pub(crate) async fn commit(&self, mut writes: Vec<Write>) -> Result<Committed, CommitError> {
        if self.sealer.rules.is_empty() {
            return self.store.commit(writes).await;
        }
        for write in &mut writes {
            let Write::Put { key, content, .. } = write else { continue };
            if let Some(rule) = self.sealer.rule(key) {
                let sealed = rule.seal(key, content.clone());
                *content =
                    sealed.map_err(|error| CommitError::Io(Arc::new(io::Error::other(error))))?;
            }
        }
        let mut committed = self.store.commit(writes).await?;
        for event in &mut committed.events {
            self.open(event);
        }
        Ok(committed)
    }

    /// All that is stored, as it is stored: what is sealed stays so.
    ///
    /// # Errors
    /// None over the backends of this process.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, ReadError> {
        self.store.snapshot().await
    }

    fn open(&self, event: &mut Arc<Event>) {
        let Some(rule) = self.sealer.rule(&event.key) else { return };
        let open = |kv: &Option<_>| kv.as_ref().map(|kv| rule.open(kv));
        let (previous, current) = (open(&event.previous), open(&event.current));
        *event = Arc::new(Event { current, previous, ..Event::clone(event) });
    }

    /// Lets an observer hear of every commit from now on.
    pub(crate) fn attach(&self, observer: Arc<dyn Observer>) {
        self.store.attach(observer);
    }

    /// Whether other servers write too; see [`Store::is_shared`].
    pub(crate) fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Waits until the caches show what any server acknowledged; see [`Store::fresh`].
    ///
    /// # Errors
    /// As the store's.
    pub(crate) async fn fresh(&self) -> Result<(), ReadError> {
        self.store.fresh().await
    }

    /// What a key that is not sealed holds; see [`Store::get`].
    ///
    /// # Errors
    /// As the store's.
    pub(crate) async fn get(&self, key: &[u8]) -> Result<Option<Kv>, ReadError> {
        self.store.get(key).await
    }

    /// The latest revision; see [`Store::revision`].
    pub(crate) fn revision(&self) -> Revision {
        self.store.revision()
    }
}
