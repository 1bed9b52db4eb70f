//! The edge of the DaemonSet controller: observes caches, carries the actions out.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_client::{Cache, Change, ObjectKey, Outcome, Queue, drive};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use parking_lot::Mutex;

use super::pod::node_of;
use super::{Action, Observed, name_taken, reconcile};
use crate::context::{Context, Running};
use crate::history::run::{Stepped, step};
use crate::objects::{PodSelector, namespace, phase, uid};
use crate::owned;
use crate::pods::{Failed, PodWriter};
use crate::write::{self, WriteError, settle};

/// Failures remembered, by DaemonSet and node; one more forgets all, which only makes the next
/// replacement come at once.
const FAILURES_MAX: usize = 10_000;

type Failures = HashMap<String, HashMap<String, u32>>;

struct Controller {
    context: Context,
    sets: Cache<DaemonSet>,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    revisions: Cache<ControllerRevision>,
    writer: PodWriter,
    failures: Mutex<Failures>,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let recorder = context.recorder("daemonset-controller");
    let pods: Cache<Pod> = context.caches.get();
    let controller = Arc::new(Controller {
        context: context.clone(),
        sets: context.caches.get(),
        nodes: context.caches.get(),
        pods: pods.clone(),
        revisions: context.caches.get(),
        writer: PodWriter { client: context.client.clone(), pods, recorder },
        failures: Mutex::default(),
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
        controller.nodes.observe({
            let (queue, sets) = (queue.clone(), controller.sets.clone());
            move |change| node_changed(&queue, &sets, change)
        }),
    ];
    let drive = drive("daemonset", queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

fn selector(set: &DaemonSet) -> Option<PodSelector> {
    set.spec.as_ref().map(|spec| PodSelector::new(&spec.selector))
}

/// Only labels and taints of a node decide; its heartbeats are nobody's business here.
fn node_changed(queue: &Queue<ObjectKey>, sets: &Cache<DaemonSet>, change: &Change<Node>) {
    let taints = |node: &Arc<Node>| -> Vec<(String, Option<String>, String)> {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        taints.into_iter().map(|Taint { key, value, effect, .. }| (key, value, effect)).collect()
    };
    let told = |node: &Arc<Node>| (node.metadata.labels.clone(), taints(node));
    if change.old.as_ref().map(told) != change.new.as_ref().map(told) {
        sets.list().iter().for_each(|set| queue.add(write::key(&set.metadata)));
    }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.sets.wait_synced().await;
        self.nodes.wait_synced().await;
        self.pods.wait_synced().await;
        self.revisions.wait_synced().await;
        let Some(set) = self.sets.get_key(key) else { return Ok(Outcome::Done) };
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

    fn observe(&self, set: Arc<DaemonSet>) -> Observed {
        let (own, space) = (uid(&set.metadata), namespace(&set.metadata));
        let mut pods = self.pods.controlled_by(own);
        pods.extend(self.pods.orphans_in(space));
        let mut revisions = self.revisions.controlled_by(own);
        revisions.extend(self.revisions.orphans_in(space));
        let failures = self.failures.lock().get(own).cloned().unwrap_or_default();
        let nodes = self.nodes.synced().then(|| self.nodes.list());
        Observed { set, nodes, pods, revisions, failures }
    }

    /// A pod that served ends the memory of those that failed before it on its node.
    fn note_end(&self, set: &DaemonSet, pod: &Pod) {
        let Some(node) = node_of(pod) else { return };
        let mut failures = self.failures.lock();
        if failures.values().map(HashMap::len).sum::<usize>() >= FAILURES_MAX {
            failures.clear();
        }
        let of_set = failures.entry(uid(&set.metadata).to_owned()).or_default();
        if phase(pod) == "Failed" {
            *of_set.entry(node.to_owned()).or_default() += 1;
        } else {
            of_set.remove(node);
        }
    }

    async fn apply(&self, set: &Arc<DaemonSet>, action: Action) -> Result<(), Box<Failed>> {
        let client = &self.context.client;
        let done = match action {
            Action::Create(pods) => {
                let make = |at: usize| pods.get(at).cloned().unwrap_or_default();
                return self.writer.create_many(&**set, pods.len(), make).await;
            }
            Action::Delete(pod) => {
                self.note_end(set, &pod);
                return self.writer.delete(&**set, &pod).await;
            }
            Action::Claim(claim) => owned::settle_claim(client, &self.pods, &**set, &claim).await,
            Action::ClaimRevision(claim) => {
                owned::settle_claim(client, &self.revisions, &**set, &claim).await
            }
            Action::Revise(revise) => match step(client, &self.revisions, &revise).await {
                Ok(Stepped::Done) => Ok(()),
                Ok(Stepped::NameTaken) => self.set_status(set, &name_taken(set)).await,
                Err(error) => Err(error),
            },
            Action::SetStatus(status) => self.set_status(set, &status).await,
            Action::RequeueAfter(_) => Ok(()),
        };
        done.map_err(|error| Box::new(Failed { told: None, error }))
    }

    async fn set_status(&self, set: &DaemonSet, new: &DaemonSetStatus) -> Result<(), WriteError> {
        let api = write::api_of(&self.context.client, &set.metadata);
        write::set_status(&api, &self.sets, &set.metadata, set.status.as_ref(), new).await
    }
}
