//! The edge of the StatefulSet controller: observes caches, carries the actions out.

use std::sync::Arc;

use coracle_client::{Cache, Change, EventKind, ObjectKey, Outcome, Queue, drive};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::json;

use super::{Action, Observed, claims_of_interest, name_taken, reconcile};
use crate::context::{Context, Running};
use crate::history::run::{Stepped, step};
use crate::objects::{PodSelector, name, namespace, uid};
use crate::owned;
use crate::pods::{Failed, PodWriter};
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    sets: Cache<StatefulSet>,
    pods: Cache<Pod>,
    revisions: Cache<ControllerRevision>,
    claims: Cache<PersistentVolumeClaim>,
    writer: PodWriter,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let recorder = context.recorder("statefulset-controller");
    let pods: Cache<Pod> = context.caches.get();
    let controller = Arc::new(Controller {
        context: context.clone(),
        sets: context.caches.get(),
        pods: pods.clone(),
        revisions: context.caches.get(),
        claims: context.caches.get(),
        writer: PodWriter { client: context.client.clone(), pods, recorder },
    });
    let feeds = vec![
        controller.sets.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.clone())
        }),
        controller.pods.observe({
            let (queue, sets) = (queue.clone(), controller.sets.clone());
            move |change| owned::queue_owners(&queue, &sets, change, selector)
        }),
        controller.claims.observe({
            let queue = queue.clone();
            move |change| claim_changed(&queue, change)
        }),
    ];
    let drive = drive("statefulset", queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

fn selector(set: &StatefulSet) -> Option<PodSelector> {
    set.spec.as_ref().map(|spec| PodSelector::new(&spec.selector))
}

/// A claim that went may let a pod of its name come, or come back: the set that it was made for
/// is told by the pod's name within the claim's.
fn claim_changed(queue: &Queue<ObjectKey>, change: &Change<PersistentVolumeClaim>) {
    if change.new.is_some() {
        return;
    }
    let Some(space) = change.key.namespace.as_deref() else { return };
    // `data-web-0` is of `web`: every way to cut it is tried, a set that is not there costs nothing.
    let without_ordinal = change.key.name.rsplit_once('-').map_or("", |(rest, _)| rest);
    let cuts =
        without_ordinal.match_indices('-').filter_map(|(at, _)| without_ordinal.get(at + 1..));
    for set in cuts {
        queue.add(ObjectKey::namespaced(space, set));
    }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.sets.wait_synced().await;
        self.pods.wait_synced().await;
        self.revisions.wait_synced().await;
        let Some(set) = self.sets.get_key(key) else { return Ok(Outcome::Done) };
        if has_claims(&set) {
            self.claims.wait_synced().await;
        }
        let observed = self.observe(set);
        let mut outcome = Outcome::Done;
        for action in reconcile(&observed, Timestamp::now()) {
            if let Action::RequeueAfter(wait) = action {
                outcome = Outcome::RequeueAfter(wait);
            } else {
                self.apply(&observed.set, action).await.map_err(|failed| failed.error)?;
            }
        }
        Ok(outcome)
    }

    fn observe(&self, set: Arc<StatefulSet>) -> Observed {
        let (own, space) = (uid(&set.metadata).to_owned(), namespace(&set.metadata).to_owned());
        let mut pods = self.pods.controlled_by(&own);
        pods.extend(self.pods.orphans_in(&space));
        let mut revisions = self.revisions.controlled_by(&own);
        revisions.extend(self.revisions.orphans_in(&space));
        let claims = self.claims.synced().then(|| {
            let wanted = claims_of_interest(&set, &pods).into_iter();
            wanted
                .filter_map(|name| Some((name.clone(), self.claims.get(Some(&space), &name)?)))
                .collect()
        });
        Observed { set, pods, revisions, claims }
    }

    async fn apply(&self, set: &Arc<StatefulSet>, action: Action) -> Result<(), Box<Failed>> {
        let client = &self.context.client;
        let done = match action {
            Action::Create(pod) => return self.writer.create(&**set, &pod).await,
            Action::Delete(pod) => return self.writer.delete(&**set, &pod).await,
            Action::Claim(claim) => owned::settle_claim(client, &self.pods, &**set, &claim).await,
            Action::ClaimRevision(claim) => {
                owned::settle_claim(client, &self.revisions, &**set, &claim).await
            }
            Action::Revise(revise) => match step(client, &self.revisions, &revise).await {
                Ok(Stepped::Done) => Ok(()),
                Ok(Stepped::NameTaken) => self.set_status(set, &name_taken(set)).await,
                Err(error) => Err(error),
            },
            Action::CreateVolume(claim) => self.create_claim(set, &claim).await,
            Action::OwnVolume(claim, owners) => {
                let guard = claim.metadata.resource_version.as_deref();
                let owners = write::or_null(&owners);
                let body =
                    json!({"metadata": {"ownerReferences": owners, "resourceVersion": guard}});
                let api = write::api_of(client, &claim.metadata);
                write::patch(&api, &self.claims, &claim.metadata, &body).await
            }
            Action::Relabel(pod, labels) => {
                let api = write::api_of(client, &pod.metadata);
                let body = json!({"metadata": {"labels": labels}});
                write::patch(&api, &self.pods, &pod.metadata, &body).await
            }
            Action::SetStatus(status) => self.set_status(set, &status).await,
            Action::RequeueAfter(_) => Ok(()),
        };
        done.map_err(|error| Box::new(Failed { told: None, error }))
    }

    async fn create_claim(
        &self,
        set: &StatefulSet,
        claim: &PersistentVolumeClaim,
    ) -> Result<(), WriteError> {
        let api = write::api_of(&self.context.client, &claim.metadata);
        let made = write::create(&api, &self.claims, claim).await;
        let (claim, set_name) = (name(&claim.metadata), name(&set.metadata));
        match made {
            Ok(_) => {
                let said = format!("create Claim {claim} in StatefulSet {set_name} successful");
                self.writer.recorder.event(set, EventKind::Normal, "SuccessfulCreate", said);
                Ok(())
            }
            Err(error) if error.is_exists() => Ok(()),
            Err(error) => {
                let said =
                    format!("create Claim {claim} in StatefulSet {set_name} failed: {error}");
                self.writer.recorder.event(set, EventKind::Warning, "FailedCreate", said);
                Err(error)
            }
        }
    }

    async fn set_status(
        &self,
        set: &StatefulSet,
        new: &StatefulSetStatus,
    ) -> Result<(), WriteError> {
        let api = write::api_of(&self.context.client, &set.metadata);
        write::set_status(&api, &self.sets, &set.metadata, set.status.as_ref(), new).await
    }
}

fn has_claims(set: &StatefulSet) -> bool {
    let templates = set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_ref());
    templates.is_some_and(|templates| !templates.is_empty())
}
