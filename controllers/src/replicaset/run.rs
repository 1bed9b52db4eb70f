//! The edge of ReplicaSets and of what works as they do: observes caches, carries actions out.

use std::sync::Arc;

use coracle_client::cache::Object;
use coracle_client::{Cache, Change, ObjectKey, Outcome, Queue, drive};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Action, Failure, Observed, Replicated, reconcile, status, without_retelling};
use crate::context::{Context, Running};
use crate::gather::Looks;
use crate::objects::{PodSelector, controller_of, is_deleting, name, namespace, uid};
use crate::owned;
use crate::pods::{Failed, PodWriter, from_template};
use crate::write::{self, WriteError, settle};

struct Controller<R: Replicated> {
    context: Context,
    owners: Cache<R>,
    /// Siblings spread their deletions; kinds without a Deployment above have none.
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    writer: PodWriter,
    looks: Looks,
}

/// Starts the controller of ReplicaSets.
pub(crate) fn start(context: &Context) -> Running {
    start_for::<ReplicaSet>(context)
}

/// Starts the controller of a kind that works as ReplicaSets do.
pub(crate) fn start_for<R: Replicated>(context: &Context) -> Running {
    let queue = Queue::new();
    let pods: Cache<Pod> = context.caches.get();
    let controller = Arc::new(Controller {
        context: context.clone(),
        owners: context.caches.get::<R>(),
        sets: context.caches.get(),
        pods: pods.clone(),
        writer: PodWriter {
            client: context.client.clone(),
            pods,
            recorder: context.recorder(R::CONTROLLER),
        },
        looks: Looks::default(),
    });
    let feeds = vec![
        controller.owners.observe({
            let (queue, looks) = (queue.clone(), controller.looks.clone());
            move |change| owner_changed(&queue, &looks, change)
        }),
        controller.pods.observe({
            let (queue, owners) = (queue.clone(), controller.owners.clone());
            let looks = controller.looks.clone();
            move |change| {
                let add = |key: ObjectKey, _uid: &str| looks.add(&queue, key);
                owned::find_owners(add, &owners, change, R::selector);
            }
        }),
    ];
    let drive = drive(R::CONTROLLER, queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

/// Adds an owner that changed, at once when something else is asked of it. What is told of it, by this controller itself
/// after nearly each look, is no haste.
fn owner_changed<K: Object>(queue: &Queue<ObjectKey>, looks: &Looks, change: &Change<K>) {
    let both = change.old.as_ref().zip(change.new.as_ref());
    if both.is_some_and(|(old, new)| asks_the_same(old.meta(), new.meta())) {
        looks.add(queue, change.key.clone());
    } else {
        queue.add(change.key.clone());
    }
}

fn asks_the_same(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    uid(old) == uid(new) && old.generation == new.generation && is_deleting(old) == is_deleting(new)
}

impl<R: Replicated> Controller<R> {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.owners.wait_synced().await;
        self.sets.wait_synced().await;
        self.pods.wait_synced().await;
        let Some(owner) = self.owners.get_key(key) else {
            self.looks.note(key, 0);
            return Ok(Outcome::Done);
        };
        let observed = self.observe(&owner);
        self.looks.note(key, observed.pods.len());
        let now = Timestamp::now();
        let mut outcome = Outcome::Done;
        let mut actions = reconcile(&observed, now);
        without_retelling(&owner, &mut actions);
        for action in actions {
            if let Action::RequeueAfter(wait) = action {
                outcome = Outcome::RequeueAfter(wait);
            } else if let Err(failed) = self.apply(&owner, action).await {
                self.report(&owner, failed.told, now).await?;
                return Err(failed.error);
            }
        }
        Ok(outcome)
    }

    fn observe(&self, owner: &Arc<R>) -> Observed {
        let set = R::to_set(owner);
        let mut pods = self.pods.controlled_by(uid(&set.metadata));
        pods.extend(self.pods.orphans_in(namespace(&set.metadata)));
        let related = self.related(&set, &pods);
        Observed { replica_set: set, pods, related }
    }

    /// The pods by which those that are to go are chosen. They may be many, so they are not looked for where there are
    /// no more pods than asked for.
    fn related(&self, set: &ReplicaSet, pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        if pods.len() <= usize::try_from(wanted).unwrap_or(0) {
            return Vec::new();
        }
        let Some(deployment) = controller_of(&set.metadata) else { return pods.to_vec() };
        let siblings = self.sets.controlled_by(&deployment.uid);
        let uids = siblings.iter().map(|sibling| uid(&sibling.metadata));
        uids.flat_map(|uid| self.pods.controlled_by(uid)).collect()
    }

    async fn apply(&self, owner: &Arc<R>, action: Action) -> Result<(), Box<Failed>> {
        let plain = |error| Box::new(Failed { told: None, error });
        match action {
            Action::Create(n) => {
                let spec = R::to_set(owner).spec.clone().unwrap_or_default();
                let prefix = format!("{}-", name(owner.meta()));
                let template = spec.template.unwrap_or_default();
                let pod = from_template(&**owner, template, prefix);
                self.writer.create_many(&**owner, n, |_| pod.clone()).await
            }
            Action::Delete(pods) => self.writer.delete_many(&**owner, &pods).await,
            Action::Claim(claim) => {
                let client = &self.context.client;
                owned::settle_claim(client, &self.pods, &**owner, &claim).await.map_err(plain)
            }
            Action::SetStatus(new) => self.set_status(owner, *new).await.map_err(plain),
            Action::RequeueAfter(_) => Ok(()),
        }
    }

    async fn set_status(&self, owner: &R, new: ReplicaSetStatus) -> Result<(), WriteError> {
        let api = write::api_of(&self.context.client, owner.meta());
        let new = R::status_from(new);
        write::set_status(&api, &self.owners, owner.meta(), owner.status(), &new).await
    }

    /// Writes the status with a failure, when there is one to tell.
    async fn report(
        &self,
        owner: &Arc<R>,
        failure: Option<(&'static str, String)>,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let Some((reason, message)) = failure else { return Ok(()) };
        let fresh = self.owners.get_key(&write::key(owner.meta()));
        let fresh = fresh.unwrap_or_else(|| Arc::clone(owner));
        let observed = self.observe(&fresh);
        let new = status(&observed, Some(&Failure { reason, message }), now);
        if observed.replica_set.status.as_ref() == Some(&new) {
            return Ok(());
        }
        self.set_status(&fresh, new).await
    }
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";
    type Status = ReplicaSetStatus;

    fn to_set(owner: &Arc<ReplicaSet>) -> Arc<ReplicaSet> {
        Arc::clone(owner)
    }

    fn selector(&self) -> Option<PodSelector> {
        self.spec.as_ref().map(|spec| PodSelector::new(&spec.selector))
    }

    fn status(&self) -> Option<&ReplicaSetStatus> {
        self.status.as_ref()
    }

    fn status_from(status: ReplicaSetStatus) -> ReplicaSetStatus {
        status
    }

    fn tellable(status: ReplicaSetStatus) -> ReplicaSetStatus {
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(generation: i64, uid: &str, change: &str) -> Option<Arc<ReplicaSet>> {
        let mut set = json!({"metadata": {"name": "web", "uid": uid, "generation": generation}});
        if !change.is_empty() {
            set["metadata"]["deletionTimestamp"] = json!(change);
        }
        Some(serde_json::from_value(set).map(Arc::new).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_of_a_large_set_is_looked_at_at_once() {
        let check = |old: Option<Arc<ReplicaSet>>, new: Option<Arc<ReplicaSet>>, at_once: bool| {
            let (queue, looks) = (Queue::new(), Looks::default());
            let key = ObjectKey::namespaced("a", "web");
            looks.note(&key, 10_000);
            owner_changed(&queue, &looks, &Change { key, old: old.clone(), new: new.clone() });
            assert_eq!(!queue.is_idle(), at_once, "{old:?} {new:?}");
        };
        let large = || set(1, "u", "");
        check(None, large(), true);
        check(large(), None, true);
        check(large(), set(2, "u", ""), true);
        check(large(), set(1, "v", ""), true);
        check(large(), set(1, "u", "2026-01-01T00:00:00Z"), true);
        check(large(), large(), false);
    }
}
