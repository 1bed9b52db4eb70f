//! The edge of the disruption controller: observes caches, writes the budgets' status.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_client::{Cache, Change, EventKind, ObjectKey, Outcome, Queue, Recorder, drive};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::{Selector, SelectorExt};
use serde_json::json;

use super::{Action, Observed, Size, reconcile};
use crate::context::{Context, Running};
use crate::objects::{controller_of, is_deleting, is_ready, namespace};
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    deployments: Cache<Deployment>,
    replica_sets: Cache<ReplicaSet>,
    stateful_sets: Cache<StatefulSet>,
    controllers: Cache<ReplicationController>,
    recorder: Recorder,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let caches = &context.caches;
    let controller = Arc::new(Controller {
        context: context.clone(),
        budgets: caches.get(),
        pods: caches.get(),
        deployments: caches.get(),
        replica_sets: caches.get(),
        stateful_sets: caches.get(),
        controllers: caches.get(),
        recorder: context.recorder("controllermanager"),
    });
    let feeds = vec![
        controller.budgets.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.clone())
        }),
        controller.pods.observe({
            let (queue, budgets) = (queue.clone(), controller.budgets.clone());
            move |change| pod_changed(&queue, &budgets, change)
        }),
        controller.deployments.observe(of_size(
            &queue,
            &controller.budgets,
            |deployment: &Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas),
        )),
        controller.stateful_sets.observe(of_size(
            &queue,
            &controller.budgets,
            |set: &StatefulSet| set.spec.as_ref().and_then(|spec| spec.replicas),
        )),
    ];
    let drive = drive("disruption", queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

/// Gives the selector of a budget; an empty one takes all pods of the namespace.
fn selector(budget: &PodDisruptionBudget) -> Option<Selector> {
    Selector::try_from(budget.spec.as_ref()?.selector.clone()?).ok()
}

fn takes(selector: &Selector, pod: &Pod) -> bool {
    selector.matches(&pod.metadata.labels.clone().unwrap_or_default())
}

/// Readiness, labels and leaving matter to a budget, nothing else of a pod does.
fn pod_changed(
    queue: &Queue<ObjectKey>,
    budgets: &Cache<PodDisruptionBudget>,
    change: &Change<Pod>,
) {
    let told =
        |pod: &Arc<Pod>| (is_ready(pod), is_deleting(&pod.metadata), pod.metadata.labels.clone());
    if change.old.as_ref().map(told) == change.new.as_ref().map(told) {
        return;
    }
    let Some(space) = change.key.namespace.as_deref() else { return };
    for budget in budgets.list_in(space) {
        let Some(selector) = selector(&budget) else { continue };
        let mut pods = [&change.old, &change.new].into_iter().flatten();
        if pods.any(|pod| takes(&selector, pod)) {
            queue.add(write::key(&budget.metadata));
        }
    }
}

/// A changed size concerns the budgets of its namespace.
fn of_size<K: coracle_client::Object>(
    queue: &Queue<ObjectKey>,
    budgets: &Cache<PodDisruptionBudget>,
    size: fn(&K) -> Option<i32>,
) -> impl Fn(&Change<K>) + Send + Sync + 'static {
    let (queue, budgets) = (queue.clone(), budgets.clone());
    move |change| {
        let size = |object: &Option<Arc<K>>| object.as_ref().and_then(|object| size(object));
        let Some(space) = change.key.namespace.as_deref() else { return };
        if size(&change.old) != size(&change.new) {
            let all = budgets.list_in(space);
            all.iter().for_each(|budget| queue.add(write::key(&budget.metadata)));
        }
    }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.budgets.wait_synced().await;
        self.pods.wait_synced().await;
        self.deployments.wait_synced().await;
        self.replica_sets.wait_synced().await;
        self.stateful_sets.wait_synced().await;
        self.controllers.wait_synced().await;
        let Some(budget) = self.budgets.get_key(key) else { return Ok(Outcome::Done) };
        if is_deleting(&budget.metadata) {
            return Ok(Outcome::Done);
        }
        let observed = self.observe(budget);
        let mut outcome = Outcome::Done;
        for action in reconcile(&observed, Timestamp::now()) {
            match action {
                Action::SetStatus(status) => {
                    let meta = &observed.budget.metadata;
                    let api = write::api_of(&self.context.client, meta);
                    // The server counts down as it grants: nothing of that may be written over.
                    let body = json!({"metadata": {"resourceVersion": meta.resource_version},
                        "status": write::difference(observed.budget.status.as_ref(), &*status)});
                    write::patch_status(&api, &self.budgets, meta, &body).await?;
                }
                Action::Warn(reason, message) => {
                    self.recorder.event(&*observed.budget, EventKind::Warning, reason, message);
                }
                Action::RequeueAfter(wait) => outcome = Outcome::RequeueAfter(wait),
            }
        }
        Ok(outcome)
    }

    fn observe(&self, budget: Arc<PodDisruptionBudget>) -> Observed {
        let space = namespace(&budget.metadata);
        let mut pods = Vec::new();
        if let Some(selector) = selector(&budget) {
            pods = self.pods.list_in(space);
            pods.retain(|pod| takes(&selector, pod));
        }
        let mut sizes = BTreeMap::new();
        for owner in pods.iter().filter_map(|pod| controller_of(&pod.metadata)) {
            if !sizes.contains_key(&owner.uid)
                && let Some(size) = self.size(space, owner)
            {
                sizes.insert(owner.uid.clone(), size);
            }
        }
        Observed { budget, pods, sizes }
    }

    fn size(&self, space: &str, owner: &OwnerReference) -> Option<Size> {
        let space = Some(space);
        let (uid, replicas) = match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self.replica_sets.get(space, &owner.name)?;
                let above = controller_of(&set.metadata).filter(|above| above.kind == "Deployment");
                match above.and_then(|above| self.deployments.get(space, &above.name)) {
                    Some(above) => (above.metadata.uid.clone()?, above.spec.as_ref()?.replicas),
                    None => (set.metadata.uid.clone()?, set.spec.as_ref()?.replicas),
                }
            }
            "StatefulSet" => {
                let set = self.stateful_sets.get(space, &owner.name)?;
                (set.metadata.uid.clone()?, set.spec.as_ref()?.replicas)
            }
            "ReplicationController" => {
                let set = self.controllers.get(space, &owner.name)?;
                (set.metadata.uid.clone()?, set.spec.as_ref()?.replicas)
            }
            _ => return None,
        };
        Some(Size { uid, replicas: replicas.unwrap_or(1) })
    }
}
