//! The edge of the Deployment controller: observes caches, carries the actions out.

use std::sync::Arc;

use coracle_client::{
    Cache, Change, EventKind, Failure, ObjectKey, Outcome, Queue, Recorder, drive,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use super::proportion::is_recreate;
use super::{Action, Edit, Observed, creation_failed, name_taken, reconcile, revision};
use crate::context::{Context, Running};
use crate::objects::{PodSelector, controller_of, is_terminal, name, namespace, uid};
use crate::owned;
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    recorder: Recorder,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        deployments: context.caches.get(),
        sets: context.caches.get(),
        pods: context.caches.get(),
        recorder: context.recorder("deployment-controller"),
    });
    let deployments = controller.deployments.clone();
    let feeds = vec![
        controller.deployments.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.clone())
        }),
        controller.sets.observe({
            let (queue, deployments) = (queue.clone(), deployments.clone());
            move |change| owned::queue_owners(&queue, &deployments, change, selector)
        }),
        controller.pods.observe({
            let (queue, sets) = (queue.clone(), controller.sets.clone());
            move |change| pod_changed(&queue, &sets, &deployments, change)
        }),
    ];
    let drive = drive("deployment", queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

/// Adds the Deployment of a pod that went or ended, when it waits for that (Recreate).
fn pod_changed(
    queue: &Queue<ObjectKey>,
    sets: &Cache<ReplicaSet>,
    deployments: &Cache<Deployment>,
    change: &Change<Pod>,
) {
    let over = change.new.as_ref().is_none_or(|pod| is_terminal(pod));
    let Some(pod) = change.old.as_ref().filter(|_| over) else { return };
    let namespace = namespace(&pod.metadata);
    let set = controller_of(&pod.metadata).and_then(|owner| sets.get(Some(namespace), &owner.name));
    let owner = set.as_ref().and_then(|set| controller_of(&set.metadata));
    let deployment = owner.and_then(|owner| deployments.get(Some(namespace), &owner.name));
    if let Some(deployment) = deployment.filter(|deployment| is_recreate(deployment)) {
        queue.add(write::key(&deployment.metadata));
    }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.deployments.wait_synced().await;
        self.sets.wait_synced().await;
        self.pods.wait_synced().await;
        let Some(deployment) = self.deployments.get_key(key) else { return Ok(Outcome::Done) };
        let observed = self.observe(deployment);
        let now = Timestamp::now();
        let mut outcome = Outcome::Done;
        for action in reconcile(&observed, now) {
            if let Action::RequeueAfter(wait) = action {
                outcome = Outcome::RequeueAfter(wait);
            } else {
                self.apply(&observed.deployment, action, now).await?;
            }
        }
        Ok(outcome)
    }

    fn observe(&self, deployment: Arc<Deployment>) -> Observed {
        let own = self.sets.controlled_by(uid(&deployment.metadata));
        let pods = if is_recreate(&deployment) {
            let uids = own.iter().map(|set| uid(&set.metadata));
            uids.flat_map(|uid| self.pods.controlled_by(uid)).collect()
        } else {
            Vec::new()
        };
        let mut replica_sets = own;
        replica_sets.extend(self.sets.orphans_in(namespace(&deployment.metadata)));
        Observed { deployment, replica_sets, pods }
    }

    async fn apply(
        &self,
        deployment: &Arc<Deployment>,
        action: Action,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let meta = &deployment.metadata;
        let sets = write::api_of::<ReplicaSet>(&self.context.client, meta);
        match action {
            Action::Create(set) => self.create(deployment, &set, now).await,
            Action::Update(set, edit) => self.update(deployment, &set, edit).await,
            Action::Delete(set) => {
                let background = PropagationPolicy::Background;
                write::delete(&sets, &self.sets, &set.metadata, background, None).await
            }
            Action::Claim(claim) => {
                owned::settle_claim(&self.context.client, &self.sets, &**deployment, &claim).await
            }
            Action::SetRevision(number) => {
                let api = write::api_of(&self.context.client, meta);
                let body = json!({"metadata": {"annotations": {revision::REVISION: number}}});
                write::patch(&api, &self.deployments, meta, &body).await
            }
            Action::SetStatus(status) => self.set_status(deployment, &status).await,
            Action::RequeueAfter(_) => Ok(()),
        }
    }

    async fn set_status(
        &self,
        deployment: &Deployment,
        status: &DeploymentStatus,
    ) -> Result<(), WriteError> {
        let api = write::api_of(&self.context.client, &deployment.metadata);
        let old = deployment.status.as_ref();
        write::set_status(&api, &self.deployments, &deployment.metadata, old, status).await
    }

    async fn create(
        &self,
        deployment: &Arc<Deployment>,
        set: &ReplicaSet,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let api = write::api_of(&self.context.client, &deployment.metadata);
        let error = match write::create(&api, &self.sets, set).await {
            Ok(made) => {
                self.tell_scaled(deployment, &made, 0, made.spec.as_ref().and_then(|s| s.replicas));
                return Ok(());
            }
            Err(error) => error,
        };
        if error.source.is_already_exists() {
            let existing = api.get(name(&set.metadata)).await.map(Arc::new);
            let status = existing.ok().and_then(|existing| name_taken(deployment, &existing));
            if let Some(status) = status {
                self.set_status(deployment, &status).await?;
            }
        } else if error.source.is_refusal() && !error.is_namespace_terminating() {
            let why = error.source.message();
            let said =
                format!("Failed to create new replica set \"{}\": {why}", name(&set.metadata));
            self.recorder.event(&**deployment, EventKind::Warning, "ReplicaSetCreateError", said);
            let status = creation_failed(deployment, &why, now);
            if deployment.status.as_ref() != Some(&status) {
                self.set_status(deployment, &status).await?;
            }
        }
        Err(error)
    }

    async fn update(
        &self,
        deployment: &Deployment,
        set: &ReplicaSet,
        edit: Edit,
    ) -> Result<(), WriteError> {
        let mut body = json!({});
        if !edit.annotations.is_empty() {
            body["metadata"] = json!({"annotations": edit.annotations});
        }
        let mut spec = serde_json::Map::new();
        if let Some(replicas) = edit.replicas {
            spec.insert("replicas".to_owned(), json!(replicas));
        }
        if let Some(seconds) = edit.min_ready_seconds {
            spec.insert("minReadySeconds".to_owned(), json!(seconds));
        }
        if !spec.is_empty() {
            body["spec"] = Value::Object(spec);
        }
        let api = write::api_of(&self.context.client, &set.metadata);
        write::patch(&api, &self.sets, &set.metadata, &body).await?;
        let before = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        self.tell_scaled(deployment, set, before, edit.replicas);
        Ok(())
    }

    fn tell_scaled(&self, deployment: &Deployment, set: &ReplicaSet, from: i32, to: Option<i32>) {
        let Some(to) = to.filter(|to| *to != from) else { return };
        let direction = if to > from { "up" } else { "down" };
        let set = name(&set.metadata);
        let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
        self.recorder.event(deployment, EventKind::Normal, "ScalingReplicaSet", message);
    }
}

fn selector(deployment: &Deployment) -> Option<PodSelector> {
    deployment.spec.as_ref().map(|spec| PodSelector::new(&spec.selector))
}
