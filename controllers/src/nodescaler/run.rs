//! The edge of hosts on demand: looks at the caches, cordons, evicts, and calls the operator's hooks.

use std::sync::Arc;

use coracle_client::{Cache, EventKind, Failure, Outcome, Queue, Recorder, drive};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{EvictParams, PropagationPolicy};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Action, MARK, Memory, Observed, reconcile};
use crate::context::{Context, Running};
use crate::objects::{name, namespace, pod_condition};
use crate::write::{self, WriteError, settle};

/// Pods that a hook is told of; more would say nothing new.
const PODS_TOLD_MAX: usize = 100;

struct Controller {
    context: Context,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    budgets: Cache<PodDisruptionBudget>,
    memory: Mutex<Memory>,
    recorder: Recorder,
}

/// Starts the controller, which looks from time to time; without hooks it does nothing.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let hooks = &context.config.hooks;
    if hooks.add.is_some() || hooks.remove.is_some() {
        queue.add(());
    }
    let controller = Arc::new(Controller {
        context: context.clone(),
        nodes: context.caches.get(),
        pods: context.caches.get(),
        budgets: context.caches.get(),
        memory: Mutex::default(),
        recorder: context.recorder("host-autoscaler"),
    });
    let drive = drive("nodescaler", queue, 1, move |()| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile().await) }
    });
    Running { drive, feeds: Vec::new() }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self) -> Result<Outcome, WriteError> {
        self.nodes.wait_synced().await;
        self.pods.wait_synced().await;
        self.budgets.wait_synced().await;
        let observed = Observed {
            nodes: self.nodes.list(),
            pods: self.pods.list(),
            budgets: self.budgets.list(),
            hooks: self.context.config.hooks.clone(),
            memory: self.memory.lock().clone(),
        };
        for action in reconcile(&observed, Timestamp::now()) {
            self.apply(action).await?;
        }
        Ok(Outcome::RequeueAfter(observed.hooks.look_every))
    }

    async fn apply(&self, action: Action) -> Result<(), WriteError> {
        match action {
            Action::AddHost(pods) => self.add_host(&pods).await,
            Action::Mark(node) => {
                let since = now_text();
                self.cordon(&node, &json!(since), true).await?;
                let note = "the host is idle: its pods move, then it is removed";
                self.recorder.event(&*node, EventKind::Normal, "ScaleDown", note.to_owned());
            }
            Action::Unmark(node) => {
                self.cordon(&node, &Value::Null, false).await?;
                let note = "the host is needed again";
                self.recorder.event(
                    &*node,
                    EventKind::Normal,
                    "ScaleDownCancelled",
                    note.to_owned(),
                );
            }
            Action::Evict(pod) => self.evict(&pod).await,
            Action::RemoveHost(node) => self.remove_host(&node).await?,
            Action::Remember(memory) => *self.memory.lock() = memory,
        }
        Ok(())
    }

    async fn cordon(&self, node: &Node, mark: &Value, cordoned: bool) -> Result<(), WriteError> {
        let patch = json!({
            "metadata": {"annotations": {MARK: mark}, "uid": node.metadata.uid},
            "spec": {"unschedulable": cordoned.then_some(true)},
        });
        let api = self.context.client.cluster();
        write::patch(&api, &self.nodes, &node.metadata, &patch).await
    }

    /// One that a budget forbids is asked for again at the next look.
    async fn evict(&self, pod: &Pod) {
        let api = write::api_of::<Pod>(&self.context.client, &pod.metadata);
        let evicted = api.evict(name(&pod.metadata), &EvictParams::default()).await;
        if let Err(error) = evicted
            && !error.is_not_found()
        {
            let (namespace, name) = (namespace(&pod.metadata), name(&pod.metadata));
            tracing::debug!(namespace, name, error = error.message(), "pod not evicted yet");
        }
    }

    async fn add_host(&self, pods: &[Arc<Pod>]) {
        let Some(hook) = &self.context.config.hooks.add else { return };
        let told: Vec<Value> = pods.iter().take(PODS_TOLD_MAX).map(|pod| describe(pod)).collect();
        let said = hook.call(&[], &json!({"pods": told})).await;
        let (kind, reason, note) = match said {
            Ok(()) => (EventKind::Normal, "TriggeredScaleUp", "a host was asked for".to_owned()),
            Err(why) => (EventKind::Warning, "FailedScaleUp", why),
        };
        tracing::info!(pods = pods.len(), reason, note, "asked for a host");
        for pod in pods.iter().take(PODS_TOLD_MAX) {
            self.recorder.event(&**pod, kind, reason, note.clone());
        }
    }

    async fn remove_host(&self, node: &Node) -> Result<(), WriteError> {
        let Some(hook) = &self.context.config.hooks.remove else { return Ok(()) };
        let name = name(&node.metadata);
        if let Err(why) = hook.call(&[name], &json!({"node": name})).await {
            tracing::warn!(node = name, why, "host not removed");
            self.recorder.event(node, EventKind::Warning, "ScaleDownFailed", why);
            return Ok(());
        }
        tracing::info!(node = name, "removed an idle host");
        let api = self.context.client.cluster();
        let background = PropagationPolicy::Background;
        write::delete(&api, &self.nodes, &node.metadata, background, None).await
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
fn now_text() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What a hook is told of a pod.
fn describe(pod: &Pod) -> Value {
    let request =
        pod.spec.as_ref().map(coracle_api::fit::PodRequest::from_spec).unwrap_or_default();
    let why = pod_condition(pod, "PodScheduled").and_then(|one| one.message.clone());
    json!({
        "namespace": namespace(&pod.metadata),
        "name": name(&pod.metadata),
        "requests": {
            "cpu": format!("{}m", request.resources.cpu_millis),
            "memory": request.resources.memory_bytes.to_string(),
        },
        "message": why,
    })
}
