//! Nothing is deleted without a cause that the store knows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_simulate::objects::{
    NAMESPACES, NODES, Objects, PODS, REPLICA_SETS, STATEFUL_SETS, Step, count, is_active,
    is_terminal, text,
};
use serde_json::Value;

use super::counts::n_active;
use super::{Recent, controller, ordinal};

/// Where the nodes' heartbeats are.
const LEASES: &str = "/registry/coordination.k8s.io/leases/kube-node-lease/";

/// How long a node's Lease may stand still: the node controller's own default.
const NODE_GRACE: Duration = Duration::from_secs(50);

/// What is remembered of the causes.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    /// Replicas of ReplicaSets, by uid.
    asked: BTreeMap<String, Recent>,
    /// When each node was heard of last.
    heard: BTreeMap<String, Duration>,
    /// When a silence ended that was long enough for a node to count as lost.
    long_silent: BTreeMap<String, Duration>,
    /// When a node was last seen tainted `NoExecute`.
    tainted: BTreeMap<String, Duration>,
}

impl Deletions {
    pub(super) fn see(
        &mut self,
        now: Duration,
        step: Step<'_>,
        objects: &Objects,
        by_user: &BTreeSet<String>,
    ) -> Option<String> {
        if let (Some(node), Some(_)) = (step.key.strip_prefix(LEASES), step.after) {
            let before = self.heard.insert(node.to_owned(), now);
            if before.is_some_and(|before| now.saturating_sub(before) >= NODE_GRACE) {
                self.long_silent.insert(node.to_owned(), now);
            }
        } else if let Some(node) = step.key.strip_prefix(NODES) {
            return self.node(now, node, step);
        } else if let (true, Some(set)) = (is_set(step.key), step.after) {
            let uid = text(set, "/metadata/uid").to_owned();
            self.asked.entry(uid).or_default().set(now, count(set, "/spec/replicas", 1));
        } else if step.key.starts_with(PODS) {
            return self.pod(now, step, objects, by_user);
        }
        None
    }

    fn node(&mut self, now: Duration, node: &str, step: Step<'_>) -> Option<String> {
        if step.after.is_some_and(drives_out) || step.before.is_some_and(drives_out) {
            self.tainted.insert(node.to_owned(), now);
        }
        let is_tainted = step.after.is_some_and(is_lost);
        let was_tainted = step.before.is_some_and(is_lost);
        let heard = self.heard.get(node).filter(|_| is_tainted && !was_tainted)?;
        let silent = now.saturating_sub(*heard);
        // What was decided in the silence may be written when it is over.
        let ended = self.long_silent.get(node).copied();
        if ended.is_some_and(|ended| now.saturating_sub(ended) < super::KNOWLEDGE_OLD_MAX) {
            return None;
        }
        let text = || format!("{node} counts as lost after {silent:?} of silence");
        (silent < NODE_GRACE).then(text)
    }

    fn pod(
        &self,
        now: Duration,
        step: Step<'_>,
        objects: &Objects,
        by_user: &BTreeSet<String>,
    ) -> Option<String> {
        let before = step.before.filter(|pod| is_active(pod))?;
        let goes =
            step.after.is_none_or(|pod| pod.pointer("/metadata/deletionTimestamp").is_some());
        if !goes || by_user.contains(step.key) || is_terminal(before) {
            return None;
        }
        let node = text(before, "/spec/nodeName");
        let lost_node = !node.is_empty()
            && (objects.get(&format!("{NODES}{node}")).is_none() || self.was_lost(now, node));
        let cause = lost_node
            || namespace_goes(before, objects)
            || self.replica_set_wants_less(now, before, objects)
            || self.stateful_set_wants_other(now, step.key, before, objects)
            || job_wants_less(before, objects);
        (!cause).then(|| format!("{} was deleted without a cause", step.key))
    }

    fn was_lost(&self, now: Duration, node: &str) -> bool {
        let at = self.tainted.get(node);
        at.is_some_and(|at| now.saturating_sub(*at) < super::KNOWLEDGE_OLD_MAX * 20)
    }

    /// Fewer replicas, or a newer template.
    fn stateful_set_wants_other(
        &self,
        now: Duration,
        key: &str,
        pod: &Value,
        objects: &Objects,
    ) -> bool {
        let Some(set) = controller(pod, "StatefulSet") else { return false };
        let Some((_, owner)) = objects.by_uid(set) else { return true };
        let least = self.asked.get(set).and_then(|asked| asked.values(now).min()).unwrap_or(0);
        let revision = text(pod, "/metadata/labels/controller-revision-hash");
        owner.pointer("/metadata/deletionTimestamp").is_some()
            || ordinal(key).is_some_and(|ordinal| ordinal >= least)
            || revision != text(owner, "/status/updateRevision")
            // A new template is rolled out before the status says so.
            || owner.pointer("/metadata/generation") != owner.pointer("/status/observedGeneration")
    }

    fn replica_set_wants_less(&self, now: Duration, pod: &Value, objects: &Objects) -> bool {
        let Some(set) = controller(pod, "ReplicaSet") else { return false };
        let Some((_, owner)) = objects.by_uid(set) else { return true };
        if owner.pointer("/metadata/deletionTimestamp").is_some() {
            return true;
        }
        // The pod that goes is not active any more, but was.
        let n_before = 1 + n_active(set, objects);
        let least = self.asked.get(set).and_then(|asked| asked.values(now).min()).unwrap_or(0);
        n_before > least
    }
}

/// A Job that is over or going, and one that has more pods than it may have at once.
fn job_wants_less(pod: &Value, objects: &Objects) -> bool {
    let Some(uid) = controller(pod, "Job") else { return false };
    let Some((_, job)) = objects.by_uid(uid) else { return true };
    let n_before = 1 + n_active(uid, objects);
    job.pointer("/metadata/deletionTimestamp").is_some()
        || job.pointer("/status/conditions").is_some()
        || n_before > count(job, "/spec/parallelism", 1)
}

fn is_set(key: &str) -> bool {
    key.starts_with(REPLICA_SETS) || key.starts_with(STATEFUL_SETS)
}

fn namespace_goes(pod: &Value, objects: &Objects) -> bool {
    let namespace = objects.get(&format!("{NAMESPACES}{}", text(pod, "/metadata/namespace")));
    namespace.is_none_or(|namespace| namespace.pointer("/metadata/deletionTimestamp").is_some())
}

/// Whether pods have to leave a node.
fn drives_out(node: &Value) -> bool {
    taints(node).any(|taint| taint["effect"] == "NoExecute")
}

/// Whether the node controller has given a node up.
fn is_lost(node: &Value) -> bool {
    let own = |taint: &&Value| text(taint, "/key").starts_with("node.kubernetes.io/");
    taints(node).filter(own).any(|taint| taint["effect"] == "NoExecute")
}

fn taints(node: &Value) -> impl Iterator<Item = &Value> {
    node.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten()
}
