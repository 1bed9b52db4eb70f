//! Users' kinds as the collector follows them: each definition that is established has a watch of its objects' metadata.
//!
//! An edge: it watches. A watch that fails (its definition is going, its conversion breaks) does not hold up the
//! collection of other kinds; whether an owner is there is then asked of the server.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_client::{Change, ObjectKey, Queue};
use futures::StreamExt as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource as _};
use parking_lot::{Mutex, RwLock};
use tokio::task::JoinHandle;

use super::run::{Lookup, Source, SourceList};
use super::{Entry, Graph};

/// What is followed of one user's kind.
#[derive(Default)]
struct Followed {
    uids: RwLock<HashMap<ObjectKey, String>>,
    /// Whether all objects that there were have been seen, or nobody can say.
    is_settled: AtomicBool,
}

impl Lookup for Arc<Followed> {
    fn uid_of(&self, key: &ObjectKey) -> Option<String> {
        self.uids.read().get(key).cloned()
    }

    fn is_synced(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }
}

/// The watches of users' kinds; dropped, they end.
pub(super) struct Customs {
    client: kube::Client,
    graph: Arc<Mutex<Graph>>,
    queue: Queue<String>,
    sources: SourceList,
    /// By the names of their definitions.
    running: Mutex<HashMap<String, Following>>,
}

struct Following {
    resource: ApiResource,
    kind: usize,
    followed: Arc<Followed>,
    task: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
        // Nothing waits for what is followed no more.
        self.followed.is_settled.store(true, Ordering::Release);
    }
}

/// The resource of a definition that is established, in the version in which its objects are kept.
fn resource_of(definition: &CustomResourceDefinition) -> Option<(ApiResource, bool)> {
    let conditions = definition.status.as_ref()?.conditions.as_ref()?;
    let is_established = |found: &&_| {
        let found: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionCondition = found;
        found.type_ == "Established" && found.status == "True"
    };
    conditions.iter().find(is_established)?;
    let spec = &definition.spec;
    let served = || spec.versions.iter().filter(|version| version.served);
    let version = served().find(|version| version.storage).or_else(|| served().next())?;
    let resource = ApiResource {
        group: spec.group.clone(),
        version: version.name.clone(),
        api_version: format!("{}/{}", spec.group, version.name),
        kind: spec.names.kind.clone(),
        plural: spec.names.plural.clone(),
    };
    Some((resource, spec.scope == "Namespaced"))
}

impl Customs {
    pub(super) fn new(
        client: kube::Client,
        graph: Arc<Mutex<Graph>>,
        queue: Queue<String>,
        sources: SourceList,
    ) -> Customs {
        Customs { client, graph, queue, sources, running: Mutex::default() }
    }

    /// Follows what a definition defines, or ceases to.
    pub(super) fn changed(&self, change: &Change<CustomResourceDefinition>) {
        let wanted = change.new.as_ref().and_then(|definition| resource_of(definition));
        let mut running = self.running.lock();
        let known = running.get(&change.key.name).map(|following| &following.resource);
        if known == wanted.as_ref().map(|(resource, _)| resource) {
            return;
        }
        if let Some(old) = running.remove(&change.key.name) {
            self.forget(&old);
        }
        if let Some((resource, is_namespaced)) = wanted {
            running.insert(change.key.name.clone(), self.follow(resource, is_namespaced));
        }
    }

    fn follow(&self, resource: ApiResource, is_namespaced: bool) -> Following {
        let followed: Arc<Followed> = Arc::default();
        let path = resource.clone();
        let source = Source {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            is_namespaced,
            path: Box::new(move |namespace| DynamicObject::url_path(&path, namespace)),
            cache: Box::new(Arc::clone(&followed)),
        };
        let kind = {
            let mut sources = self.sources.write();
            sources.push(Arc::new(source));
            sources.len() - 1
        };
        let watch = Watch {
            kind,
            resource: resource.clone(),
            followed: Arc::clone(&followed),
            graph: Arc::clone(&self.graph),
            queue: self.queue.clone(),
        };
        let api = Api::all_with(self.client.clone(), &resource);
        let task = tokio::spawn(watch.run(api));
        Following { resource, kind, followed, task }
    }

    /// Takes the objects of a kind that is not followed any more out of the graph.
    fn forget(&self, following: &Following) {
        tracing::debug!(kind = following.kind, "a user's kind is followed no more");
        let uids = std::mem::take(&mut *following.followed.uids.write());
        for uid in uids.into_values() {
            let visits = self.graph.lock().remove(&uid);
            visits.into_iter().for_each(|uid| self.queue.add(uid));
        }
    }
}

/// The watch of one kind.
struct Watch {
    kind: usize,
    resource: ApiResource,
    followed: Arc<Followed>,
    graph: Arc<Mutex<Graph>>,
    queue: Queue<String>,
}

impl Watch {
    async fn run(self, api: Api<PartialObjectMeta<DynamicObject>>) {
        let events = watcher(api, watcher::Config::default()).default_backoff();
        let mut events = pin!(events);
        let mut listed: HashMap<ObjectKey, String> = HashMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    if let Some((key, uid)) = self.put(&object) {
                        listed.insert(key, uid);
                    }
                }
                Ok(Event::InitDone) => self.settle(&mut listed),
                Ok(Event::Apply(object)) => drop(self.put(&object)),
                Ok(Event::Delete(object)) => self.remove(&object),
                Err(error) => {
                    tracing::debug!(%error, "the watch of a user's kind failed");
                    self.followed.is_settled.store(true, Ordering::Release);
                }
            }
        }
    }

    fn visit(&self, visits: Vec<String>) {
        visits.into_iter().for_each(|uid| self.queue.add(uid));
    }

    fn put(&self, object: &PartialObjectMeta<DynamicObject>) -> Option<(ObjectKey, String)> {
        let (key, uid) = identity(&object.metadata)?;
        let before = self.followed.uids.write().insert(key.clone(), uid.clone());
        let mut graph = self.graph.lock();
        let mut visits = Vec::new();
        if let Some(before) = before.filter(|before| *before != uid) {
            visits.extend(graph.remove(&before));
        }
        visits.extend(graph.put(Entry::new(self.kind, &key, &object.metadata)));
        drop(graph);
        self.visit(visits);
        Some((key, uid))
    }

    fn remove(&self, object: &PartialObjectMeta<DynamicObject>) {
        let Some((key, uid)) = identity(&object.metadata) else { return };
        let mut uids = self.followed.uids.write();
        if uids.get(&key) == Some(&uid) {
            uids.remove(&key);
        }
        drop(uids);
        let visits = self.graph.lock().remove(&uid);
        self.visit(visits);
    }

    /// Takes what was listed for all that there is.
    fn settle(&self, listed: &mut HashMap<ObjectKey, String>) {
        let mut uids = self.followed.uids.write();
        let is_there = |key: &ObjectKey, uid: &String| listed.get(key) == Some(uid);
        let gone: Vec<String> = uids
            .iter()
            .filter(|(key, uid)| !is_there(key, uid))
            .map(|(_, uid)| uid.clone())
            .collect();
        *uids = std::mem::take(listed);
        drop(uids);
        for uid in gone {
            let visits = self.graph.lock().remove(&uid);
            self.visit(visits);
        }
        self.followed.is_settled.store(true, Ordering::Release);
        // What names owners of this kind could not be judged before, and an owner that came and went
        // before the first list was never seen.
        let graph = self.graph.lock();
        let owned = graph.owned_by_kind(&self.resource.group, &self.resource.kind);
        let owned: Vec<String> = owned.map(str::to_owned).collect();
        drop(graph);
        self.visit(owned);
    }
}

fn identity(meta: &ObjectMeta) -> Option<(ObjectKey, String)> {
    let key = ObjectKey { namespace: meta.namespace.clone(), name: meta.name.clone()? };
    Some((key, meta.uid.clone()?))
}
