//! The edge of the ReplicaSet controller: observes caches, carries the actions out.

use std::sync::Arc;

use coracle_client::{Cache, Change, EventKind, ObjectKey, Outcome, Queue, Recorder, drive};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Resource;
use serde_json::json;

use super::{Action, Failure, Observed, reconcile, status};
use crate::context::{Context, Running};
use crate::objects::{
    PodSelector, controller_of, controller_reference, is_controlled_by, name, namespace, uid,
};
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    recorder: Recorder,
}

/// An action that did not succeed.
struct Failed {
    /// What the status must tell of it.
    told: Option<Failure>,
    error: WriteError,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        sets: context.caches.get(),
        pods: context.caches.get(),
        recorder: context.recorder("replicaset-controller"),
    });
    let feeds = vec![
        controller.sets.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.clone())
        }),
        controller.pods.observe({
            let (queue, sets) = (queue.clone(), controller.sets.clone());
            move |change| pod_changed(&queue, &sets, change)
        }),
    ];
    let drive = drive("replicaset", queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

/// Adds the ReplicaSets that a change of a pod may concern: its owners, or who might adopt it.
fn pod_changed(queue: &Queue<ObjectKey>, sets: &Cache<ReplicaSet>, change: &Change<Pod>) {
    for pod in [&change.old, &change.new].into_iter().flatten() {
        if let Some(owner) = controller_of(&pod.metadata) {
            if owner.kind == "ReplicaSet" {
                queue.add(ObjectKey::namespaced(namespace(&pod.metadata), &owner.name));
            }
        } else if change.new.is_some() {
            for set in sets.list_in(namespace(&pod.metadata)) {
                let selector = set.spec.as_ref().map(|spec| PodSelector::new(&spec.selector));
                if selector.is_some_and(|s| s.takes(pod.metadata.labels.as_ref())) {
                    queue.add(write::key(&set.metadata));
                }
            }
        }
    }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.sets.wait_synced().await;
        self.pods.wait_synced().await;
        let Some(set) = self.sets.get_key(key) else { return Ok(Outcome::Done) };
        let observed = self.observe(set);
        let now = Timestamp::now();
        let mut outcome = Outcome::Done;
        for action in reconcile(&observed, now) {
            if let Action::RequeueAfter(wait) = action {
                outcome = Outcome::RequeueAfter(wait);
            } else if let Err(failed) = self.apply(&observed, action).await {
                self.report(&observed, failed.told, now).await?;
                return Err(failed.error);
            }
        }
        Ok(outcome)
    }

    fn observe(&self, set: Arc<ReplicaSet>) -> Observed {
        let mut pods = self.pods.controlled_by(uid(&set.metadata));
        pods.extend(self.pods.orphans_in(namespace(&set.metadata)));
        let related = match controller_of(&set.metadata) {
            Some(deployment) => {
                let siblings = self.sets.controlled_by(&deployment.uid);
                let uids = siblings.iter().map(|sibling| uid(&sibling.metadata));
                uids.flat_map(|uid| self.pods.controlled_by(uid)).collect()
            }
            None => pods.clone(),
        };
        Observed { replica_set: set, pods, related }
    }

    async fn apply(&self, observed: &Observed, action: Action) -> Result<(), Box<Failed>> {
        let set = &observed.replica_set;
        let plain = |error| Box::new(Failed { told: None, error });
        match action {
            Action::Create(n) => self.create_pods(set, n).await,
            Action::Delete(pod) => self.delete_pod(set, &pod).await,
            Action::Adopt(pod) => self.adopt(set, &pod).await.map_err(plain),
            Action::Release(pod) => self.release(set, &pod).await.map_err(plain),
            Action::SetStatus(new) => {
                let api = write::api_of(&self.context.client, &set.metadata);
                let old = set.status.as_ref();
                write::set_status(&api, &self.sets, &set.metadata, old, &*new).await.map_err(plain)
            }
            Action::RequeueAfter(_) => Ok(()),
        }
    }

    /// Creates pods in batches that double, so that a refusal costs one request and not hundreds.
    async fn create_pods(&self, set: &ReplicaSet, n: usize) -> Result<(), Box<Failed>> {
        let pod = new_pod(set);
        let (mut left, mut batch) = (n, 1);
        while left > 0 {
            let now = batch.min(left);
            let results = join_all((0..now).map(|_| self.create_pod(set, &pod))).await;
            results.into_iter().collect::<Result<Vec<()>, _>>()?;
            left -= now;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_pod(&self, set: &ReplicaSet, pod: &Pod) -> Result<(), Box<Failed>> {
        let api = write::api_of(&self.context.client, &set.metadata);
        match write::create(&api, &self.pods, pod).await {
            Ok(made) => {
                let message = format!("Created pod: {}", name(&made.metadata));
                self.recorder.event(set, EventKind::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) if error.is_namespace_terminating() => {
                Err(Box::new(Failed { told: None, error }))
            }
            Err(error) => Err(self.failed(set, "FailedCreate", "creating", error)),
        }
    }

    async fn delete_pod(&self, set: &ReplicaSet, pod: &Pod) -> Result<(), Box<Failed>> {
        match write::delete_pod(&self.context.client, &self.pods, pod).await {
            Ok(()) => {
                let message = format!("Deleted pod: {}", name(&pod.metadata));
                self.recorder.event(set, EventKind::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if error.is_race() => Err(Box::new(Failed { told: None, error })),
            Err(error) => Err(self.failed(set, "FailedDelete", "deleting", error)),
        }
    }

    fn failed(
        &self,
        set: &ReplicaSet,
        reason: &'static str,
        doing: &str,
        error: WriteError,
    ) -> Box<Failed> {
        let message = coracle_client::Failure::message(&*error.source);
        let said = format!("Error {doing}: {message}");
        self.recorder.event(set, EventKind::Warning, reason, said);
        Box::new(Failed { told: Some(Failure { reason, message }), error })
    }

    /// Writes the status with a failure, when there is one to tell.
    async fn report(
        &self,
        observed: &Observed,
        failure: Option<Failure>,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let Some(failure) = failure else { return Ok(()) };
        let fresh = self.sets.get_key(&write::key(&observed.replica_set.metadata));
        let fresh = fresh.unwrap_or_else(|| Arc::clone(&observed.replica_set));
        let observed = self.observe(fresh);
        let set = &observed.replica_set;
        let new = status(&observed, Some(&failure), now);
        if set.status.as_ref() == Some(&new) {
            return Ok(());
        }
        let api = write::api_of(&self.context.client, &set.metadata);
        write::set_status(&api, &self.sets, &set.metadata, set.status.as_ref(), &new).await
    }

    async fn adopt(&self, set: &ReplicaSet, pod: &Pod) -> Result<(), WriteError> {
        let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
        owners.push(controller_reference(set));
        self.set_owners(pod, write::or_null(&owners)).await
    }

    async fn release(&self, set: &ReplicaSet, pod: &Pod) -> Result<(), WriteError> {
        debug_assert!(is_controlled_by(&pod.metadata, &set.metadata));
        let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
        owners.retain(|owner| owner.uid != uid(&set.metadata));
        self.set_owners(pod, write::or_null(&owners)).await
    }

    async fn set_owners(&self, pod: &Pod, owners: serde_json::Value) -> Result<(), WriteError> {
        let guard = pod.metadata.resource_version.as_deref();
        let body = json!({"metadata": {"ownerReferences": owners, "resourceVersion": guard}});
        let api = write::api_of(&self.context.client, &pod.metadata);
        write::patch(&api, &self.pods, &pod.metadata, &body).await
    }
}

/// Makes the pod that a ReplicaSet's template describes; the server gives it its name.
fn new_pod(set: &ReplicaSet) -> Pod {
    let template = set.spec.clone().unwrap_or_default().template.unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(set.meta()))),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
