//! The edge of the node controller: Leases in, Node writes and evictions out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::peers::RENEW;
use coracle_client::{Cache, Change, EventKind, Outcome, Queue, Recorder, Scope, drive};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::lifecycle::not_ready;
use super::vote::Votes;
use super::{Action, Cidr, Observed, Vote, companion, next_free, reconcile};
use crate::context::{Context, Running};
use crate::objects::name;
use crate::write::{self, WriteError, settle};

/// Namespace of the nodes' Leases.
const LEASES: &str = "kube-node-lease";

/// When a node's Lease was seen to change: the clocks of two machines are never compared.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    renewed: Option<MicroTime>,
    at: Instant,
    /// When its host was asked to renew it, since it was renewed.
    asked: Option<Instant>,
    /// How often it renewed it when it was asked to, since it is doubted.
    answered: u32,
}

impl Heard {
    fn now(renewed: Option<MicroTime>, answered: u32) -> Self {
        Self { renewed, at: Instant::now(), asked: None, answered }
    }
}

struct Controller {
    context: Context,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    leases: Cache<Lease>,
    heard: Arc<Mutex<HashMap<String, Heard>>>,
    votes: Arc<Mutex<Votes>>,
    recorder: Recorder,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        nodes: context.caches.get(),
        pods: context.caches.get(),
        leases: Cache::start(&context.client, Scope::all().in_namespace(LEASES)),
        heard: Arc::default(),
        votes: Arc::default(),
        recorder: context.recorder("node-controller"),
    });
    let feeds = vec![
        controller.nodes.observe({
            let queue = queue.clone();
            move |change| node_changed(&queue, change)
        }),
        controller.leases.observe({
            let (queue, heard) = (queue.clone(), Arc::clone(&controller.heard));
            let votes = Arc::clone(&controller.votes);
            move |change| {
                lease_changed(&heard, change);
                let told = votes.lock().set(&change.key.name, change.new.as_deref());
                told.into_iter().for_each(|host| queue.add(host));
            }
        }),
        controller.pods.observe({
            let (queue, nodes) = (queue.clone(), controller.nodes.clone());
            move |change| pod_changed(&queue, &nodes, change)
        }),
    ];
    // One worker: it also hands out address ranges, each once.
    let drive = drive("node", queue, 1, move |name: String| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&name).await) }
    });
    Running { drive, feeds }
}

/// A heartbeat in the Node's status is no reason to look; a changed spec or condition is.
fn node_changed(queue: &Queue<String>, change: &Change<Node>) {
    let told = |node: &Arc<Node>| {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let states: Vec<_> = conditions.map(|c| (c.type_.clone(), c.status.clone())).collect();
        (node.spec.clone(), states)
    };
    if change.new.is_some() && change.old.as_ref().map(told) != change.new.as_ref().map(told) {
        queue.add(change.key.name.clone());
    }
}

fn lease_changed(heard: &Mutex<HashMap<String, Heard>>, change: &Change<Lease>) {
    let mut heard = heard.lock();
    let Some(lease) = &change.new else {
        heard.remove(&change.key.name);
        return;
    };
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
    let before = heard.get(&change.key.name);
    if before.is_none_or(|before| before.renewed != renewed) {
        let answered = before
            .map_or(0, |before| before.answered.saturating_add(u32::from(before.asked.is_some())));
        heard.insert(change.key.name.clone(), Heard::now(renewed, answered));
    }
}

fn is_ready(node: &Node) -> bool {
    let mut all = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    all.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A pod that comes to a node with taints may have to go again.
fn pod_changed(queue: &Queue<String>, nodes: &Cache<Node>, change: &Change<Pod>) {
    let node = |pod: &Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let (old, new) = (change.old.as_ref().and_then(node), change.new.as_ref().and_then(node));
    let Some(bound) = new.filter(|new| old.as_ref() != Some(new)) else { return };
    let tainted = |node: Arc<Node>| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        taints.into_iter().flatten().any(|taint| taint.effect == "NoExecute")
    };
    if nodes.get(None, &bound).is_some_and(tainted) {
        queue.add(bound);
    }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, name: &str) -> Result<Outcome, WriteError> {
        self.nodes.wait_synced().await;
        self.pods.wait_synced().await;
        self.leases.wait_synced().await;
        let Some(node) = self.nodes.get(None, name) else { return Ok(Outcome::Done) };
        self.give_range(&node).await?;
        let node = self.nodes.get(None, name).unwrap_or(node);
        let observed = self.observe(node);
        let now = Timestamp::now();
        let mut outcome = Outcome::Done;
        for action in reconcile(&observed, now) {
            if let Action::RequeueAfter(wait) = action {
                outcome = Outcome::RequeueAfter(wait);
            } else {
                self.apply(&observed.node, action, now).await?;
            }
        }
        Ok(outcome)
    }

    fn observe(&self, node: Arc<Node>) -> Observed {
        let silent_for = self.silence(&node);
        let pods = self.context.pods_by_node.get(name(&node.metadata));
        let vote = self.vote(name(&node.metadata));
        Observed { node, silent_for, grace: self.context.config.node_grace, vote, pods }
    }

    /// What the other hosts say of one. Those that are lost themselves have no say.
    fn vote(&self, host: &str) -> Vote {
        let counts = |witness: &str| self.nodes.get(None, witness).is_some_and(|n| is_ready(&n));
        let (doubted, widespread) = {
            let votes = self.votes.lock();
            let doubted = votes.doubt(host, counts);
            let ready = || self.nodes.list().iter().filter(|node| is_ready(node)).count();
            (doubted, doubted && votes.is_widespread(ready(), counts))
        };
        let mut heard = self.heard.lock();
        let Some(heard) = heard.get_mut(host) else {
            return Vote { doubted, widespread, ..Vote::default() };
        };
        if !doubted {
            heard.answered = 0;
        }
        let asked_for = heard.asked.map(|at| at.elapsed());
        Vote { doubted, widespread, answered: heard.answered, asked_for }
    }

    /// Asks a host to renew its Lease: its tunnel follows its Node.
    async fn ask(&self, node: &Node, now: Timestamp) -> Result<(), WriteError> {
        let host = name(&node.metadata);
        // Before it is asked: it may have answered before this task goes on.
        self.set_asked(host, |_| Some(Instant::now()));
        let body = json!({"metadata": {"annotations": {RENEW: now.to_string()}}});
        let nodes = self.context.client.cluster();
        let asked = write::patch(&nodes, &self.nodes, &node.metadata, &body).await;
        let is_asked = asked.is_ok();
        self.set_asked(host, |before| before.filter(|_| is_asked).map(|_| Instant::now()));
        asked
    }

    fn set_asked(&self, host: &str, set: impl Fn(Option<Instant>) -> Option<Instant>) {
        if let Some(heard) = self.heard.lock().get_mut(host) {
            heard.asked = set(heard.asked);
        }
    }

    /// Gives how long a node has said nothing; one that never spoke counts from now on.
    fn silence(&self, node: &Node) -> Option<Duration> {
        let mut heard = self.heard.lock();
        let never = || Heard::now(None, 0);
        Some(heard.entry(name(&node.metadata).to_owned()).or_insert_with(never).at.elapsed())
    }

    async fn give_range(&self, node: &Node) -> Result<(), WriteError> {
        let range = |node: &Node| node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone());
        if range(node).is_some_and(|range| !range.is_empty()) {
            return Ok(());
        }
        let all = self.nodes.list();
        let used: Vec<Cidr> =
            all.iter().filter_map(|node| range(node)).filter_map(|r| r.parse().ok()).collect();
        let config = &self.context.config;
        let cluster = config.cluster_cidr.parse().ok();
        let free = cluster.and_then(|cluster| next_free(cluster, config.node_mask, &used));
        let Some(free) = free else {
            let message = format!(
                "No range of /{} is free in the cluster's {}; start the server with a larger --cluster-cidr",
                config.node_mask, config.cluster_cidr
            );
            self.recorder.event(node, EventKind::Warning, "CIDRNotAvailable", message);
            return Ok(());
        };
        let second = config.cluster_cidr6.as_ref().and_then(|range| companion(range, free));
        let all: Vec<String> = std::iter::once(free.to_string()).chain(second).collect();
        let body = json!({"spec": {"podCIDR": free.to_string(), "podCIDRs": all}});
        write::patch(&self.context.client.cluster(), &self.nodes, &node.metadata, &body).await
    }

    async fn apply(&self, node: &Node, action: Action, now: Timestamp) -> Result<(), WriteError> {
        let nodes = self.context.client.cluster();
        match action {
            Action::SetConditions(conditions) => {
                let said = format!("Node {} status is now: NodeNotReady", name(&node.metadata));
                self.recorder.event(node, EventKind::Normal, "NodeNotReady", said);
                let body = json!({"status": {"conditions": conditions}});
                write::patch_status(&nodes, &self.nodes, &node.metadata, &body).await
            }
            Action::AskToRenew => self.ask(node, now).await,
            Action::SetTaints(taints) => {
                let taints = if taints.is_empty() { Value::Null } else { json!(taints) };
                let guard = node.metadata.resource_version.as_deref();
                let fresh = self.nodes.get(None, name(&node.metadata));
                let guard =
                    fresh.as_ref().map_or(guard, |n| n.metadata.resource_version.as_deref());
                let body =
                    json!({"metadata": {"resourceVersion": guard}, "spec": {"taints": taints}});
                write::patch(&nodes, &self.nodes, &node.metadata, &body).await
            }
            Action::MarkNotReady(pod) => self.mark(&pod, now).await,
            Action::Evict(pod) => {
                let said = format!("Marking for deletion Pod {}", write::key(&pod.metadata));
                self.recorder.event(&*pod, EventKind::Normal, "TaintManagerEviction", said);
                write::delete_pod(&self.context.client, &self.pods, &pod).await
            }
            Action::RequeueAfter(_) => Ok(()),
        }
    }

    async fn mark(&self, pod: &Pod, now: Timestamp) -> Result<(), WriteError> {
        let Some(conditions) = not_ready(pod, now) else { return Ok(()) };
        self.recorder.event(pod, EventKind::Warning, "NodeNotReady", "Node is not ready");
        let api = write::api_of::<Pod>(&self.context.client, &pod.metadata);
        let body = Patch::Merge(json!({"status": {"conditions": conditions}}));
        match api.patch_status(name(&pod.metadata), &PatchParams::default(), &body).await {
            Ok(pod) => self.pods.assume(pod),
            Err(error) => tracing::debug!(%error, "pod not marked"),
        }
        Ok(())
    }
}
