//! A shared snapshot of one kind that follows the API by list and watch.
//!
//! Comes in: the server's events and what this process has just written itself. Goes out:
//! reads of the snapshot and a call or message per change. Vocabulary: *apply* takes an event of
//! the watch, *assume* takes the server's answer to an own write before its event has come, so
//! that whoever writes through the cache reads its own writes and needs no expectations.

mod changes;
mod index;
mod scope;
mod state;
mod watch;

use std::fmt::Debug;
use std::sync::Arc;

use coracle_api::key::ObjectKey;
use kube::Resource;
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;
use tokio::task::JoinHandle;

pub use changes::Changes;
pub use index::Index;
pub use scope::Scope;
use state::{Listed, State};

use crate::client::Client;

/// A kind that can be cached: typed, cloneable, readable from JSON.
pub trait Object:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// One step of one object: at least one of `old` and `new` is there.
///
/// A subscriber that lagged gets several steps as one; then `old` and `new` may be different
/// objects of the same name, which their uids tell.
#[derive(Debug)]
pub struct Change<K> {
    /// The object's name.
    pub key: ObjectKey,
    /// The object before, `None` when it is new to the receiver.
    pub old: Option<Arc<K>>,
    /// The object now, `None` when it is gone.
    pub new: Option<Arc<K>>,
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        Change { key: self.key.clone(), old: self.old.clone(), new: self.new.clone() }
    }
}

impl<K> Change<K> {
    /// Gives the object as it is now, or as it was last.
    pub fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

type Observer<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

struct Observers<K> {
    next_id: u64,
    list: Vec<(u64, Observer<K>)>,
}

/// Takes out of an object what nobody who reads the cache looks at. Pure, and the same for the same object.
pub type Trim<K> = fn(&mut K);

/// What the cache's handles and its watching task share.
pub(crate) struct Shared<K> {
    state: RwLock<State<K>>,
    trim: Trim<K>,
    /// Held while a change is made and told, so that every observer sees the same order.
    observers: Mutex<Observers<K>>,
    synced: signal::Sender<bool>,
}

impl<K: Object> Shared<K> {
    fn new(trim: Trim<K>) -> Self {
        Shared {
            state: RwLock::new(State::default()),
            trim,
            observers: Mutex::new(Observers { next_id: 0, list: Vec::new() }),
            synced: signal::Sender::new(false),
        }
    }

    /// Gives an object as it is kept.
    fn kept(&self, mut object: K) -> K {
        // Nobody in the process reads them, and they are a third of an object.
        object.meta_mut().managed_fields = None;
        (self.trim)(&mut object);
        object
    }

    /// Changes the state by `step` and tells every observer what came of it, in order.
    fn publish(&self, step: impl FnOnce(&mut State<K>) -> Vec<Change<K>>) {
        let observers = self.observers.lock();
        let changes = step(&mut self.state.write());
        for change in &changes {
            for (_, observer) in &observers.list {
                observer(change);
            }
        }
    }
}

/// Stops the watching task when the last handle goes.
struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A snapshot of all objects of a kind within a [`Scope`]; clones share it.
///
/// Guarantees: per object, changes come in the order of the server; nothing is lost over a
/// reconnect or a relist; an event that a server or a proxy should have sent and did not is made good
/// by a list, which a watch's end brings every ten minutes or so; reads never block on the network. Before the first list is done
/// [`synced`](Self::synced) is `false` and what is missing is unknown, not absent.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
    _watcher: Option<Arc<Watcher>>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Cache { shared: Arc::clone(&self.shared), _watcher: self._watcher.clone() }
    }
}

impl<K> Debug for Cache<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<K: Object> Cache<K> {
    /// Starts to follow a kind; the task ends with the last clone of the cache.
    ///
    /// Needs a tokio runtime. Share one cache per kind through [`crate::Caches`].
    pub fn start(client: &Client, scope: Scope) -> Cache<K> {
        Cache::start_trimmed(client, scope, |_| {})
    }

    /// The same; each object is kept as `trim` leaves it, and what it takes out is taken for absent.
    pub fn start_trimmed(client: &Client, scope: Scope, trim: Trim<K>) -> Cache<K> {
        let shared = Arc::new(Shared::new(trim));
        let task = watch::spawn(client.kube(), scope, Arc::clone(&shared));
        Cache { shared, _watcher: Some(Arc::new(Watcher(task))) }
    }

    /// Makes a cache that follows nothing and holds the given objects: for tests.
    pub fn fixed(objects: impl IntoIterator<Item = K>) -> Cache<K> {
        let shared = Arc::new(Shared::new(|_| {}));
        let all = objects.into_iter().map(|object| Listed::Other(Box::new(object))).collect();
        shared.publish(|state| state.replace(all, 0));
        shared.synced.send_replace(true);
        Cache { shared, _watcher: None }
    }

    /// Gives the object of a name; `namespace` is `None` for cluster-scoped kinds.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        let key = ObjectKey { namespace: namespace.map(str::to_owned), name: name.to_owned() };
        self.get_key(&key)
    }

    /// Gives the object of a key.
    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.shared.state.read().get(key).cloned()
    }

    /// Gives all objects, ordered by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.state.read().iter().cloned().collect()
    }

    /// Gives the objects of one namespace, ordered by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.state.read().iter_in(namespace).cloned().collect()
    }

    /// Gives the objects whose controlling owner has this uid.
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.shared.state.read().controlled_by(uid)
    }

    /// Gives the objects of one namespace that have no controlling owner.
    pub fn orphans_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.state.read().orphans_in(namespace)
    }

    /// Says how many objects there are.
    pub fn len(&self) -> usize {
        self.shared.state.read().len()
    }

    /// Says whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the revision up to which the server's events are in; 0 before the first list.
    pub fn revision(&self) -> u64 {
        self.shared.state.read().revision()
    }

    /// Says whether the first list is in, and thus whether absence means absence.
    pub fn synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Waits for the first list. Cancel safe.
    pub async fn wait_synced(&self) {
        // The sender lives in `shared`, which `self` keeps: this cannot fail.
        let _ = self.shared.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Takes the server's answer to an own create, update or graceful delete at once.
    ///
    /// Ignored when the watch has already come past it. When its event comes later, nothing
    /// changes any more and nobody is told twice.
    pub fn assume(&self, object: K) {
        let object = self.shared.kept(object);
        self.shared.publish(|state| state.assume(object).into_iter().collect());
    }

    /// Takes an own, final delete at once; late events of that uid change nothing.
    pub fn assume_deleted(&self, key: &ObjectKey, uid: &str) {
        self.shared.publish(|state| state.assume_deleted(key, uid).into_iter().collect());
    }

    /// Calls `observer` for every object now there (as new) and then at each change, in order.
    ///
    /// The call comes from the watching task as the event arrives: it must be short, must not
    /// block, and must neither `assume`, `observe` nor drop a subscription of this cache.
    #[must_use = "the observer is removed when the subscription is dropped"]
    pub fn observe(&self, observer: impl Fn(&Change<K>) + Send + Sync + 'static) -> Subscription {
        let mut observers = self.shared.observers.lock();
        // Taken out first: an observer may read this cache, and the lock is not for reading twice.
        let present = self.shared.state.read().as_changes();
        present.iter().for_each(&observer);
        let id = observers.next_id;
        observers.next_id += 1;
        observers.list.push((id, Box::new(observer)));
        let shared = Arc::downgrade(&self.shared);
        Subscription(Some(Box::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.observers.lock().list.retain(|(other, _)| *other != id);
            }
        })))
    }

    /// Gives a stream of all changes, beginning with every object now there (as new).
    ///
    /// Memory is bounded by the number of objects: what a slow reader has not taken is joined
    /// per object. See [`Changes`].
    pub fn subscribe(&self) -> Changes<K> {
        Changes::of(self)
    }
}

/// Keeps an observer in place; dropping it removes the observer.
pub struct Subscription(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(remove) = self.0.take() {
            remove();
        }
    }
}
