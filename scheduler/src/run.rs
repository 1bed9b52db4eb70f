//! The edge: follows pods and nodes, asks the books for the next step, and carries it out.
//!
//! One task owns the books, so nothing is locked while it decides. Bindings and conditions are sent
//! by tasks of their own that report back to it; a decision never waits for one of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_client::events::EventKind;
use coracle_client::{Caches, Change, Changes, Client, Failure, Recorder};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Binding, Namespace, Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::condition::{disruption_patch, unschedulable_patch};
use crate::fit_error::FitError;
use crate::pod_info;
use crate::profile::{Allocation, Profile};
use crate::scheduler::{BindFailure, Scheduler, Step};

/// Requests in flight at once. More would only queue up in the server; when so many are out, the
/// next decision waits for one to come back.
const REQUESTS_IN_FLIGHT_MAX: usize = 128;

/// How a scheduler is run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Takes the pods whose `schedulerName` is one of these; it is also the component of their events.
    pub profiles: Vec<Profile>,
}

impl Default for Config {
    fn default() -> Self {
        let name = crate::SCHEDULER_NAME_DEFAULT.to_owned();
        Config { profiles: vec![Profile { name, allocation: Allocation::Least }] }
    }
}

/// A scheduler at work. Dropping it ends it in the middle; [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Takes no further pods, waits for the requests in flight, and ends.
    pub async fn stop(self) {
        // The task may have ended by itself only by a panic, which is logged below.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the scheduler's task panicked");
        }
    }
}

/// Starts a scheduler over shared caches. Returns at once; needs a tokio runtime.
///
/// It waits by itself until the caches that it reads are synced, because a half-filled snapshot
/// would overfill nodes. With several servers, call it only while holding the lease.
pub fn run(caches: &Caches, config: Config) -> Running {
    let (stop, stopped) = oneshot::channel();
    let edge = Edge::new(caches, &config);
    let task = tokio::spawn(edge.run(caches.clone(), stopped));
    Running { stop, task }
}

/// What came of a request.
enum End {
    Bound { pod: Arc<Pod>, node: String, result: Result<(), kube::Error> },
    Told,
}

struct Edge {
    client: Client,
    /// By the name of a profile.
    recorders: BTreeMap<String, Recorder>,
    scheduler: Scheduler,
    requests: JoinSet<End>,
    began: Instant,
}

impl Edge {
    fn new(caches: &Caches, config: &Config) -> Self {
        let recorder = |profile: &Profile| {
            (profile.name.clone(), Recorder::new(caches.client(), &profile.name, ""))
        };
        Edge {
            client: caches.client().clone(),
            recorders: config.profiles.iter().map(recorder).collect(),
            scheduler: Scheduler::with_profiles(config.profiles.clone()),
            requests: JoinSet::new(),
            began: Instant::now(),
        }
    }

    /// Tells a pod's owner something in the name of the profile that `by` asks for.
    fn tell(&self, about: &Pod, by: &Pod, kind: EventKind, reason: &'static str, message: String) {
        if let Some(recorder) = self.recorders.get(pod_info::scheduler_name(by)) {
            recorder.event(about, kind, reason, message);
        }
    }

    fn now(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    async fn run(mut self, caches: Caches, mut stopped: oneshot::Receiver<()>) {
        let mut sources = tokio::select! {
            sources = Sources::synced(&caches) => sources,
            _ = &mut stopped => return,
        };
        loop {
            self.take_waiting(&mut sources);
            self.step();
            let wakes_at = self.scheduler.wakes_at().map(|after| self.began + after);
            tokio::select! {
                change = sources.pods.next() => self.pod_changed(&change),
                change = sources.nodes.next() => self.node_changed(&change),
                change = sources.namespaces.next() => self.namespace_changed(&change),
                change = sources.budgets.next() => self.budget_changed(&change),
                change = sources.claims.next() => self.claim_changed(change),
                change = sources.volumes.next() => self.volume_changed(change),
                change = sources.classes.next() => self.class_changed(&change),
                Some(end) = self.requests.join_next() => self.ended(end),
                () = sleep_until(wakes_at) => {}
                _ = &mut stopped => break,
            }
        }
        while self.requests.join_next().await.is_some() {}
    }

    /// Takes every change that has come, so that decisions see the newest state.
    fn take_waiting(&mut self, sources: &mut Sources) {
        while let Some(change) = sources.namespaces.try_next() {
            self.namespace_changed(&change);
        }
        while let Some(change) = sources.budgets.try_next() {
            self.budget_changed(&change);
        }
        while let Some(change) = sources.classes.try_next() {
            self.class_changed(&change);
        }
        while let Some(change) = sources.volumes.try_next() {
            self.volume_changed(change);
        }
        while let Some(change) = sources.claims.try_next() {
            self.claim_changed(change);
        }
        while let Some(change) = sources.nodes.try_next() {
            self.node_changed(&change);
        }
        while let Some(change) = sources.pods.try_next() {
            self.pod_changed(&change);
        }
        while let Some(end) = self.requests.try_join_next() {
            self.ended(end);
        }
    }

    /// Decides about every pod that is ready and sends the requests.
    fn step(&mut self) {
        while self.requests.len() < REQUESTS_IN_FLIGHT_MAX {
            match self.scheduler.next(self.now(), rand::random()) {
                Some(Step::Bind { pod, node }) => self.bind(pod, node),
                Some(Step::Preempt { pod, node, victims, error }) => {
                    self.preempt(&pod, &node, victims);
                    self.refuse(&pod, &error, Some(&node));
                }
                Some(Step::Refuse { pod, error, nominated }) => {
                    self.refuse(&pod, &error, nominated.as_deref());
                }
                None => break,
            }
        }
    }

    fn pod_changed(&mut self, change: &Change<Pod>) {
        let now = self.now();
        let gone = change.old.as_ref().filter(|old| {
            let uid = change.new.as_ref().map(|new| pod_info::uid(new));
            uid != Some(pod_info::uid(old))
        });
        if let Some(old) = gone {
            self.scheduler.pod_gone(pod_info::uid(old), now);
        }
        if let Some(new) = &change.new {
            self.scheduler.pod_set(Arc::clone(new), now);
        }
    }

    fn node_changed(&mut self, change: &Change<Node>) {
        let now = self.now();
        match &change.new {
            Some(new) => self.scheduler.node_set(change.old.as_deref(), Arc::clone(new), now),
            None => self.scheduler.node_gone(&change.key.name, now),
        }
    }

    fn namespace_changed(&mut self, change: &Change<Namespace>) {
        let now = self.now();
        match &change.new {
            Some(new) => {
                let labels = new.metadata.labels.clone().unwrap_or_default();
                self.scheduler.namespace_set(&change.key.name, labels, now);
            }
            None => self.scheduler.namespace_gone(&change.key.name),
        }
    }

    fn budget_changed(&mut self, change: &Change<PodDisruptionBudget>) {
        let namespace = change.key.namespace.as_deref().unwrap_or_default();
        match &change.new {
            Some(new) => self.scheduler.budgets().set(new),
            None => self.scheduler.budgets().remove(namespace, &change.key.name),
        }
    }

    fn claim_changed(&mut self, change: Change<PersistentVolumeClaim>) {
        let (now, key) = (self.now(), change.key);
        let key = (key.namespace.unwrap_or_default(), key.name);
        self.scheduler.volumes_changed(|volumes| volumes.claim(key, change.new), now);
    }

    fn volume_changed(&mut self, change: Change<PersistentVolume>) {
        let now = self.now();
        let name = change.key.name;
        self.scheduler.volumes_changed(|volumes| volumes.volume(name, change.new), now);
    }

    fn class_changed(&mut self, change: &Change<StorageClass>) {
        let (now, name) = (self.now(), change.key.name.clone());
        let class = change.new.as_deref();
        self.scheduler.volumes_changed(|volumes| volumes.class(name, class), now);
    }

    fn bind(&mut self, pod: Arc<Pod>, node: String) {
        let client = self.client.clone();
        self.requests.spawn(async move {
            let result = send_binding(&client, &pod, &node).await;
            End::Bound { pod, node, result }
        });
    }

    /// Deletes the victims, after their status says why.
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    fn preempt(&mut self, pod: &Arc<Pod>, node: &str, victims: Vec<Arc<Pod>>) {
        let message = format!(
            "{}: preempting to accommodate a higher priority pod",
            pod_info::scheduler_name(pod)
        );
        for victim in victims {
            let by = pod_info::uid(pod);
            tracing::info!(pod = %key(&victim), node, by = %key(pod), "preempting pod");
            let note = format!("Preempted by pod {by} on node {node}");
            self.tell(&victim, pod, EventKind::Normal, "Preempted", note);
            let patch = disruption_patch(&victim, &message, Timestamp::now());
            let client = self.client.clone();
            self.requests.spawn(async move {
                if let Err(error) = displace(&client, &victim, &patch).await
                    && !error.is_not_found()
                {
                    // The pod that waits is tried again and displaces anew.
                    tracing::warn!(pod = %key(&victim), error = error.message(), "not preempted");
                }
                End::Told
            });
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    fn refuse(&mut self, pod: &Arc<Pod>, error: &FitError, nominated: Option<&str>) {
        let message = error.to_string();
        tracing::debug!(pod = %key(pod), message, "no node takes the pod");
        self.tell(pod, pod, EventKind::Warning, "FailedScheduling", message.clone());
        let Some(patch) = unschedulable_patch(pod, &message, nominated, Timestamp::now()) else {
            return;
        };
        let (client, pod) = (self.client.clone(), Arc::clone(pod));
        self.requests.spawn(async move {
            if let Err(error) = send_condition(&client, &pod, &patch).await
                && !error.is_not_found()
            {
                tracing::debug!(pod = %key(&pod), error = error.message(), "condition not written");
            }
            End::Told
        });
    }

    fn ended(&mut self, end: Result<End, tokio::task::JoinError>) {
        match end {
            Ok(End::Bound { pod, node, result: Ok(()) }) => {
                tracing::info!(pod = %key(&pod), node, "bound pod");
                self.scheduler.bound(pod_info::uid(&pod));
                let message = format!("Successfully assigned {} to {node}", key(&pod));
                self.tell(&pod, &pod, EventKind::Normal, "Scheduled", message);
            }
            Ok(End::Bound { pod, node, result: Err(error) }) => self.not_bound(&pod, &node, &error),
            Ok(End::Told) => {}
            Err(error) => tracing::error!(%error, "a request of the scheduler panicked"),
        }
    }

    fn not_bound(&mut self, pod: &Pod, node: &str, error: &kube::Error) {
        let failure = if error.is_not_found() { BindFailure::Final } else { BindFailure::Retry };
        tracing::warn!(pod = %key(pod), node, error = error.message(), "binding failed");
        self.scheduler.bind_failed(pod_info::uid(pod), failure, self.now());
        if failure == BindFailure::Retry {
            let message = format!("binding to {node} rejected: {}", error.message());
            self.tell(pod, pod, EventKind::Warning, "FailedScheduling", message);
        }
    }
}

/// What the scheduler follows.
struct Sources {
    pods: Changes<Pod>,
    nodes: Changes<Node>,
    namespaces: Changes<Namespace>,
    budgets: Changes<PodDisruptionBudget>,
    claims: Changes<PersistentVolumeClaim>,
    volumes: Changes<PersistentVolume>,
    classes: Changes<StorageClass>,
}

impl Sources {
    /// Waits until all are whole.
    async fn synced(caches: &Caches) -> Self {
        let (pods, nodes) = (caches.get::<Pod>(), caches.get::<Node>());
        let (namespaces, budgets) =
            (caches.get::<Namespace>(), caches.get::<PodDisruptionBudget>());
        let claims = caches.get::<PersistentVolumeClaim>();
        let (volumes, classes) = (caches.get::<PersistentVolume>(), caches.get::<StorageClass>());
        claims.wait_synced().await;
        volumes.wait_synced().await;
        classes.wait_synced().await;
        nodes.wait_synced().await;
        namespaces.wait_synced().await;
        budgets.wait_synced().await;
        pods.wait_synced().await;
        Sources {
            pods: pods.subscribe(),
            nodes: nodes.subscribe(),
            namespaces: namespaces.subscribe(),
            budgets: budgets.subscribe(),
            claims: claims.subscribe(),
            volumes: volumes.subscribe(),
            classes: classes.subscribe(),
        }
    }
}

async fn displace(client: &Client, victim: &Pod, patch: &Value) -> Result<(), kube::Error> {
    send_condition(client, victim, patch).await?;
    let (namespace, name) = names(victim);
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: victim.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    client.namespaced::<Pod>(namespace).delete(name, &parameters).await.map(drop)
}

/// Sleeps until a moment, for ever when there is none.
async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn send_binding(client: &Client, pod: &Pod, node: &str) -> Result<(), kube::Error> {
    let (namespace, name) = names(pod);
    let binding = Binding {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let api: Api<Pod> = client.namespaced(namespace);
    let parameters = PostParams::default();
    api.create_subresource::<_, Value>("binding", name, &parameters, &binding).await.map(drop)
}

async fn send_condition(client: &Client, pod: &Pod, patch: &Value) -> Result<(), kube::Error> {
    let (namespace, name) = names(pod);
    let api: Api<Pod> = client.namespaced(namespace);
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
}

fn names(pod: &Pod) -> (&str, &str) {
    let metadata = &pod.metadata;
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

fn key(pod: &Pod) -> String {
    let (namespace, name) = names(pod);
    format!("{namespace}/{name}")
}
