//! Follows the ConfigMaps and Secrets that this host's pods refer to, each by its own name.
//!
//! One watch per object, shared by the pods that refer to it, ended with the last of them. A node
//! may read nothing else. While no server answers, the kept copies stand in.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coracle_client::{Cache, Client, Scope, Subscription};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use parking_lot::Mutex;

use crate::checkpoint::Files;
use crate::config::{Data, ObjectKind, ObjectRef, Objects};

/// How long a container waits for the first answer about an object of which nothing was kept.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(3);

/// The same where a copy was kept: a host that comes back without its server serves again within a
/// second.
const FIRST_ANSWER_OVER_COPY_MAX: Duration = Duration::from_millis(300);

enum Source {
    Map(Cache<ConfigMap>),
    Secret(Cache<Secret>),
}

struct Entry {
    source: Arc<Source>,
    /// Somebody has waited in vain for the first answer: the next one does not.
    waited: Arc<AtomicBool>,
    users: HashSet<String>,
    _changes: Subscription,
}

/// Tells that an object has changed, appeared or gone.
pub(crate) type OnChange = Arc<dyn Fn(ObjectRef) + Send + Sync>;

/// The objects that pods refer to.
pub(crate) struct Followed {
    client: Client,
    files: Files,
    on_change: OnChange,
    entries: Mutex<HashMap<ObjectRef, Entry>>,
}

impl Followed {
    pub(crate) fn new(client: Client, files: Files, on_change: OnChange) -> Self {
        Self { client, files, on_change, entries: Mutex::default() }
    }

    /// Begins to follow what a pod refers to.
    pub(crate) fn acquire(&self, uid: &str, objects: BTreeSet<ObjectRef>) {
        let mut entries = self.entries.lock();
        for object in objects {
            let entry = entries.entry(object.clone()).or_insert_with(|| self.follow(&object));
            entry.users.insert(uid.to_owned());
        }
    }

    /// Ends what only this pod needed.
    pub(crate) fn release(&self, uid: &str) {
        let mut gone = Vec::new();
        self.entries.lock().retain(|object, entry| {
            entry.users.remove(uid);
            if entry.users.is_empty() {
                gone.push(object.clone());
            }
            !entry.users.is_empty()
        });
        for object in gone {
            self.files.remove_object(&object);
        }
    }

    /// Lists the pods that refer to an object.
    pub(crate) fn users(&self, object: &ObjectRef) -> Vec<String> {
        let entries = self.entries.lock();
        entries.get(object).into_iter().flat_map(|entry| entry.users.iter().cloned()).collect()
    }

    /// Gives what is known of some objects; waits for the first answer about each, not for ever.
    ///
    /// # Errors
    /// Names the object of which nothing is known: no server answered and no copy was kept.
    pub(crate) async fn get(&self, objects: &BTreeSet<ObjectRef>) -> Result<Objects, ObjectRef> {
        let each = objects.iter().map(|object| async move {
            let data = self.get_one(object).await.ok_or_else(|| object.clone())?;
            Ok((object.clone(), data))
        });
        futures::future::try_join_all(each).await.map(Objects::from_iter)
    }

    /// The object, or that there is none; nothing while that is not known.
    async fn get_one(&self, object: &ObjectRef) -> Option<Option<Arc<Data>>> {
        let (source, waited) = {
            let entries = self.entries.lock();
            let entry = entries.get(object)?;
            (entry.source.clone(), entry.waited.clone())
        };
        if source.synced() {
            return Some(self.read(&source, object));
        }
        let kept = self.files.read_object(object).map(|data| data.map(Arc::new));
        let wait = match (&kept, waited.load(Ordering::Relaxed)) {
            (Some(_), true) => Duration::ZERO,
            (Some(_), false) => FIRST_ANSWER_OVER_COPY_MAX,
            (None, _) => FIRST_ANSWER_MAX,
        };
        if tokio::time::timeout(wait, source.wait_synced()).await.is_ok() {
            return Some(self.read(&source, object));
        }
        waited.store(true, Ordering::Relaxed);
        kept
    }

    /// Reads an object of which the server has told. That there is none is kept too: a start without
    /// the server must not wait for what was optional and never there.
    fn read(&self, source: &Arc<Source>, object: &ObjectRef) -> Option<Arc<Data>> {
        let data = source.read(object);
        if data.is_none() {
            let (files, source, object) = (self.files.clone(), source.clone(), object.clone());
            tokio::task::spawn_blocking(move || {
                // It may have come since; then its content is being written.
                if source.read(&object).is_none() && files.read_object(&object) != Some(None) {
                    keep(&files, &object, None);
                }
            });
        }
        data
    }

    fn follow(&self, object: &ObjectRef) -> Entry {
        let scope = Scope::all()
            .in_namespace(&object.namespace)
            .fields(format!("metadata.name={}", object.name));
        let told = Told {
            object: object.clone(),
            files: self.files.clone(),
            on_change: self.on_change.clone(),
        };
        let (source, changes) = match object.kind {
            ObjectKind::ConfigMap => {
                let cache = Cache::<ConfigMap>::start(&self.client, scope);
                let changes = cache.observe(move |change| {
                    told.tell(change.new.as_deref().cloned().map(Data::from))
                });
                (Source::Map(cache), changes)
            }
            ObjectKind::Secret => {
                let cache = Cache::<Secret>::start(&self.client, scope);
                let changes = cache.observe(move |change| {
                    told.tell(change.new.as_deref().cloned().map(Data::from))
                });
                (Source::Secret(cache), changes)
            }
        };
        Entry {
            source: Arc::new(source),
            waited: Arc::default(),
            users: HashSet::new(),
            _changes: changes,
        }
    }
}

impl Source {
    fn synced(&self) -> bool {
        match self {
            Self::Map(cache) => cache.synced(),
            Self::Secret(cache) => cache.synced(),
        }
    }

    async fn wait_synced(&self) {
        match self {
            Self::Map(cache) => cache.wait_synced().await,
            Self::Secret(cache) => cache.wait_synced().await,
        }
    }

    fn read(&self, object: &ObjectRef) -> Option<Arc<Data>> {
        let (namespace, name) = (Some(object.namespace.as_str()), object.name.as_str());
        match self {
            Self::Map(cache) => Some(Arc::new((*cache.get(namespace, name)?).clone().into())),
            Self::Secret(cache) => Some(Arc::new((*cache.get(namespace, name)?).clone().into())),
        }
    }
}

/// What an observer of one object does.
struct Told {
    object: ObjectRef,
    files: Files,
    on_change: OnChange,
}

impl Told {
    fn tell(&self, data: Option<Data>) {
        let (files, object) = (self.files.clone(), self.object.clone());
        tokio::task::spawn_blocking(move || keep(&files, &object, data.as_ref()));
        (self.on_change)(self.object.clone());
    }
}

fn keep(files: &Files, object: &ObjectRef, data: Option<&Data>) {
    if let Err(error) = files.write_object(object, data) {
        tracing::warn!(%object, %error, "cannot keep a copy of an object");
    }
}
