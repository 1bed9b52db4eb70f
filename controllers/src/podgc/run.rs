//! The edge of the pod collector: watches nodes go, deletes what they leave.

use std::sync::Arc;

use coracle_client::{Cache, Change, Failure, Outcome, Queue, drive};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::PropagationPolicy;

use super::{Action, ENDED_PODS_MAX, Observed, QUARANTINE, reconcile, surplus};
use crate::context::{Context, Running, node_of};
use crate::objects::is_terminal;
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
}

/// The key under which pods that ended are counted; no node has an empty name.
const ENDED: &str = "";

/// Starts the controller; its keys are names of nodes, and [`ENDED`].
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        nodes: context.caches.get(),
        pods: context.caches.get(),
    });
    let feeds = vec![
        controller.nodes.observe({
            let queue = queue.clone();
            move |change| {
                if change.new.is_none() {
                    queue.add_after(change.key.name.clone(), QUARANTINE);
                }
            }
        }),
        controller.pods.observe({
            let (queue, nodes) = (queue.clone(), controller.nodes.clone());
            move |change| pod_changed(&queue, &nodes, change)
        }),
        controller.pods.observe({
            let (queue, pods) = (queue.clone(), controller.pods.clone());
            move |change| {
                let ended = change.new.as_ref().is_some_and(|pod| is_terminal(pod));
                if ended && pods.len() > ENDED_PODS_MAX {
                    queue.add(ENDED.to_owned());
                }
            }
        }),
    ];
    let drive = drive("podgc", queue, 1, move |node: String| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&node).await) }
    });
    Running { drive, feeds }
}

/// A pod that comes to a node that is not there is looked at after the quarantine.
fn pod_changed(queue: &Queue<String>, nodes: &Cache<Node>, change: &Change<Pod>) {
    let Some(node) = change.new.as_ref().and_then(|pod| node_of(pod)) else { return };
    let before = change.old.as_ref().and_then(|pod| node_of(pod));
    if before != Some(node) && nodes.get(None, node).is_none() {
        queue.add_after(node.to_owned(), QUARANTINE);
    }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, node: &str) -> Result<Outcome, WriteError> {
        self.nodes.wait_synced().await;
        self.pods.wait_synced().await;
        if node == ENDED {
            for action in surplus(&self.pods.list(), ENDED_PODS_MAX) {
                self.apply(action).await?;
            }
            return Ok(Outcome::Done);
        }
        if self.nodes.get(None, node).is_some() {
            return Ok(Outcome::Done);
        }
        let pods = self.context.pods_by_node.get(node);
        if pods.is_empty() {
            return Ok(Outcome::Done);
        }
        let node_exists = self.ask(node).await;
        for action in reconcile(&Observed { node_exists, pods }, Timestamp::now()) {
            self.apply(action).await?;
        }
        Ok(if node_exists.is_none() { Outcome::Retry } else { Outcome::Done })
    }

    async fn ask(&self, node: &str) -> Option<bool> {
        match self.context.client.cluster::<Node>().get(node).await {
            Ok(_) => Some(true),
            Err(error) if error.is_not_found() => Some(false),
            Err(_) => None,
        }
    }

    async fn apply(&self, action: Action) -> Result<(), WriteError> {
        match action {
            Action::SetStatus(pod, status) => {
                let api = write::api_of::<Pod>(&self.context.client, &pod.metadata);
                let old = pod.status.as_ref();
                write::set_status(&api, &self.pods, &pod.metadata, old, &*status).await
            }
            Action::Delete(pod) => {
                let api = write::api_of::<Pod>(&self.context.client, &pod.metadata);
                let background = PropagationPolicy::Background;
                write::delete(&api, &self.pods, &pod.metadata, background, Some(0)).await
            }
        }
    }
}
