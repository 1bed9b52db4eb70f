//! The edge of the garbage collector: follows every kind, asks for owners, writes.

use std::collections::HashSet;
use std::sync::Arc;

use coracle_client::cache::Object;
use coracle_client::{Cache, Change, Failure, ObjectKey, Outcome, Queue, Subscription, drive};
use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim,
    Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{PartialObjectMeta, Request};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

use super::custom::Customs;
use super::{Action, Entry, FOREGROUND, Graph, Observed, Presence, Propagation, reconcile};
use crate::context::{Context, Running};
use crate::write::or_null;

/// Uids remembered as surely absent; one more forgets all. They never come back.
const ABSENT_MAX: usize = 4096;

/// Gives the path of a kind's collection, of a namespace or of all.
pub(super) type PathOf = Box<dyn Fn(Option<&str>) -> String + Send + Sync>;

/// A kind that is followed.
pub(super) struct Source {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) is_namespaced: bool,
    pub(super) path: PathOf,
    pub(super) cache: Box<dyn Lookup>,
}

/// All kinds that are followed; users' kinds come later. A place once given stays, so that entries can name it.
pub(super) type SourceList = Arc<RwLock<Vec<Arc<Source>>>>;

/// What is asked of a cache of any kind.
pub(super) trait Lookup: Send + Sync {
    fn uid_of(&self, key: &ObjectKey) -> Option<String>;
    fn is_synced(&self) -> bool;
}

impl<K: Object> Lookup for Cache<K> {
    fn uid_of(&self, key: &ObjectKey) -> Option<String> {
        self.get_key(key).and_then(|object| object.meta().uid.clone())
    }

    fn is_synced(&self) -> bool {
        self.synced()
    }
}

struct Controller {
    context: Context,
    sources: SourceList,
    graph: Arc<Mutex<Graph>>,
    absent: Mutex<HashSet<String>>,
    queue: Queue<String>,
}

/// Gathers the kinds that are followed, one after another.
struct Sources<'a> {
    context: &'a Context,
    list: Vec<Source>,
    feeds: Vec<Subscription>,
    graph: Arc<Mutex<Graph>>,
    queue: Queue<String>,
}

impl Sources<'_> {
    fn add<K: Object>(&mut self, is_namespaced: bool) {
        let cache: Cache<K> = self.context.caches.get();
        let kind = self.list.len();
        let (graph, queue) = (Arc::clone(&self.graph), self.queue.clone());
        self.feeds.push(cache.observe(move |change| changed(&graph, &queue, kind, change)));
        self.list.push(Source {
            group: K::group(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            is_namespaced,
            path: Box::new(|namespace| K::url_path(&(), namespace)),
            cache: Box::new(cache),
        });
    }
}

impl Sources<'_> {
    /// Follows every built-in kind that may own or be owned. Those that another controller keeps
    /// in full are shared with it; of the others only the metadata come.
    fn add_all(&mut self) {
        self.add::<Namespace>(false);
        self.add::<Node>(false);
        self.add::<Pod>(true);
        self.add::<Service>(true);
        self.add::<Endpoints>(true);
        self.add::<ReplicationController>(true);
        self.add::<PersistentVolumeClaim>(true);
        self.add::<ResourceQuota>(true);
        self.add::<Deployment>(true);
        self.add::<ReplicaSet>(true);
        self.add::<StatefulSet>(true);
        self.add::<DaemonSet>(true);
        self.add::<ControllerRevision>(true);
        self.add::<Job>(true);
        self.add::<CronJob>(true);
        self.add::<HorizontalPodAutoscaler>(true);
        self.add::<PodDisruptionBudget>(true);
        self.add::<EndpointSlice>(true);
        self.add::<PartialObjectMeta<ConfigMap>>(true);
        self.add::<PartialObjectMeta<Secret>>(true);
        self.add::<PartialObjectMeta<ServiceAccount>>(true);
        self.add::<PartialObjectMeta<LimitRange>>(true);
        self.add::<PartialObjectMeta<PodTemplate>>(true);
        self.add::<PartialObjectMeta<PersistentVolume>>(false);
        self.add::<PartialObjectMeta<Lease>>(true);
        self.add::<PartialObjectMeta<Ingress>>(true);
        self.add::<PartialObjectMeta<NetworkPolicy>>(true);
        self.add::<PartialObjectMeta<Role>>(true);
        self.add::<PartialObjectMeta<RoleBinding>>(true);
        self.add::<PartialObjectMeta<ClusterRole>>(false);
        self.add::<PartialObjectMeta<ClusterRoleBinding>>(false);
        self.add::<PartialObjectMeta<PriorityClass>>(false);
        self.add::<PartialObjectMeta<StorageClass>>(false);
        self.add::<CustomResourceDefinition>(false);
    }
}

fn changed<K: Object>(
    graph: &Mutex<Graph>,
    queue: &Queue<String>,
    kind: usize,
    change: &Change<K>,
) {
    let uid = |object: &Option<Arc<K>>| object.as_ref().and_then(|o| o.meta().uid.clone());
    let (old, new) = (uid(&change.old), uid(&change.new));
    let mut graph = graph.lock();
    let mut visits = Vec::new();
    if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
        visits.extend(graph.remove(&old));
    }
    if let Some(object) = &change.new {
        visits.extend(graph.put(Entry::new(kind, &change.key, object.meta())));
    }
    drop(graph);
    visits.into_iter().for_each(|uid| queue.add(uid));
}

/// Starts the collector. What only owns or is owned is followed by its metadata alone.
pub(crate) fn start(context: &Context) -> Running {
    let (graph, queue) = (Arc::default(), Queue::new());
    let mut sources = Sources {
        context,
        list: Vec::new(),
        feeds: Vec::new(),
        graph: Arc::clone(&graph),
        queue: queue.clone(),
    };
    sources.add_all();
    let mut feeds = sources.feeds;
    let list: SourceList = Arc::new(RwLock::new(sources.list.into_iter().map(Arc::new).collect()));
    let client = context.client.kube().clone();
    let customs = Customs::new(client, Arc::clone(&graph), queue.clone(), Arc::clone(&list));
    let definitions: Cache<CustomResourceDefinition> = context.caches.get();
    feeds.push(definitions.observe(move |change| customs.changed(change)));
    let controller = Arc::new(Controller {
        context: context.clone(),
        sources: list,
        graph,
        absent: Mutex::default(),
        queue: queue.clone(),
    });
    let drive = drive("garbage", queue, context.config.workers, move |uid: String| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&uid).await }
    });
    Running { drive, feeds }
}

/// A request of the collector that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("collect {object}: {}", source.message())]
struct CollectError {
    object: ObjectKey,
    #[source]
    source: Box<kube::Error>,
}

impl Controller {
    async fn reconcile(&self, uid: &str) -> Result<Outcome, CollectError> {
        if !self.sources.read().iter().all(|source| source.cache.is_synced()) {
            return Ok(Outcome::Retry);
        }
        let Some((object, dependents)) = self.look_up(uid) else { return Ok(Outcome::Done) };
        let mut owners = Vec::with_capacity(object.owners.len());
        for owner in object.owners.clone() {
            let presence = self.presence(&object, &owner).await;
            owners.push((owner, presence));
        }
        let object_key = object.key.clone();
        let is_unsure = owners.iter().any(|(_, known)| *known == Presence::Unknown);
        let observed = Observed { object, owners, dependents };
        for action in reconcile(&observed) {
            match self.apply(&observed.object, action).await {
                Err(error) if error.is_not_found() => {}
                Err(error) if error.is_conflict() => return Ok(Outcome::Retry),
                Err(source) => {
                    return Err(CollectError { object: object_key, source: Box::new(source) });
                }
                Ok(()) => {}
            }
        }
        // An owner of a kind that is not followed stays unknown; no use to ask again.
        let followed = |(owner, _): &(OwnerReference, Presence)| self.source_of(owner).is_some();
        let again = is_unsure && observed.owners.iter().all(followed);
        Ok(if again { Outcome::Retry } else { Outcome::Done })
    }

    fn look_up(&self, uid: &str) -> Option<(Entry, Vec<Entry>)> {
        let graph = self.graph.lock();
        let object = graph.get(uid)?.clone();
        let dependents = graph.dependents(uid).cloned().collect();
        Some((object, dependents))
    }

    fn source_of(&self, owner: &OwnerReference) -> Option<Arc<Source>> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let sources = self.sources.read();
        // The last one: a definition that came anew has a place of its own.
        let mut sources = sources.iter().rev();
        sources.find(|source| source.kind == owner.kind && source.group == group).cloned()
    }

    async fn presence(&self, object: &Entry, owner: &OwnerReference) -> Presence {
        if self.absent.lock().contains(&owner.uid) {
            return Presence::Absent;
        }
        let Some(source) = self.source_of(owner) else { return Presence::Unknown };
        let namespace = object.key.namespace.clone().filter(|_| source.is_namespaced);
        if source.is_namespaced && namespace.is_none() {
            // A cluster-scoped object cannot have an owner in a namespace.
            return Presence::Unknown;
        }
        let key = ObjectKey { namespace, name: owner.name.clone() };
        if source.cache.uid_of(&key).as_ref() == Some(&owner.uid) {
            let graph = self.graph.lock();
            let waits = graph.get(&owner.uid).is_some_and(|o| o.is_deleting && o.has(FOREGROUND));
            return if waits { Presence::Waiting } else { Presence::Solid };
        }
        self.ask(&source, &key, &owner.uid).await
    }

    /// Asks the server itself: a cache may be behind the one that holds the dependent.
    async fn ask(&self, source: &Source, key: &ObjectKey, uid: &str) -> Presence {
        let request = Request::new((source.path)(key.namespace.as_deref()));
        let Ok(get) = request.get_metadata(&key.name, &GetParams::default()) else {
            return Presence::Unknown;
        };
        let found: Result<Value, _> = self.context.client.kube().request(get).await;
        match found {
            Ok(object) if object["metadata"]["uid"] == uid => Presence::Solid,
            Err(error) if !error.is_not_found() => Presence::Unknown,
            Ok(_) | Err(_) => {
                let mut absent = self.absent.lock();
                if absent.len() >= ABSENT_MAX {
                    absent.clear();
                }
                absent.insert(uid.to_owned());
                Presence::Absent
            }
        }
    }

    async fn apply(&self, object: &Entry, action: Action) -> Result<(), kube::Error> {
        match action {
            Action::Visit(uid) => self.queue.add(uid),
            Action::Delete(propagation) => self.delete(object, propagation).await?,
            Action::DropOwners { object, owners } => {
                let entry = self.graph.lock().get(&object).cloned();
                let Some(entry) = entry else { return Ok(()) };
                let mut left = entry.owners.clone();
                left.retain(|owner| !owners.contains(&owner.uid));
                self.patch(&entry, json!({"ownerReferences": or_null(&left)})).await?;
            }
            Action::Unblock => {
                let mut owners = object.owners.clone();
                owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
                self.patch(object, json!({"ownerReferences": owners})).await?;
            }
            Action::RemoveFinalizer(finalizer) => {
                let mut left = object.finalizers.clone();
                left.retain(|other| other != finalizer);
                self.patch(object, json!({"finalizers": or_null(&left)})).await?;
            }
        }
        Ok(())
    }

    fn request(&self, entry: &Entry) -> Option<Request> {
        let source = self.sources.read().get(entry.kind).cloned()?;
        Some(Request::new((source.path)(entry.key.namespace.as_deref())))
    }

    async fn delete(&self, entry: &Entry, propagation: Propagation) -> Result<(), kube::Error> {
        let Some(request) = self.request(entry) else { return Ok(()) };
        let parameters = DeleteParams {
            propagation_policy: Some(match propagation {
                Propagation::Background => PropagationPolicy::Background,
                Propagation::Foreground => PropagationPolicy::Foreground,
                Propagation::Orphan => PropagationPolicy::Orphan,
            }),
            preconditions: Some(Preconditions {
                uid: Some(entry.uid.clone()),
                resource_version: entry.revision.clone(),
            }),
            ..DeleteParams::default()
        };
        let delete = request.delete(&entry.key.name, &parameters);
        let delete = delete.map_err(kube::Error::BuildRequest)?;
        self.context.client.kube().request_text(delete).await.map(drop)
    }

    async fn patch(&self, entry: &Entry, mut metadata: Value) -> Result<(), kube::Error> {
        let Some(request) = self.request(entry) else { return Ok(()) };
        metadata["uid"] = json!(entry.uid);
        metadata["resourceVersion"] = json!(entry.revision);
        let body = Patch::Merge(json!({"metadata": metadata}));
        let patch = request.patch(&entry.key.name, &PatchParams::default(), &body);
        let patch = patch.map_err(kube::Error::BuildRequest)?;
        self.context.client.kube().request_text(patch).await.map(drop)
    }
}
