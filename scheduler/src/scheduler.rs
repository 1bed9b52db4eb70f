//! The scheduler's books and its next step, without any IO.
//!
//! Flow: changes of pods and nodes come in, [`Scheduler::next`] gives one step after the other, the
//! edge carries it out and reports the end of each binding. A decided pod holds its place at once
//! (it is *assumed*), so the next decision does not wait for the API server.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::filters::Cause;
use crate::fit_error::FitError;
use crate::pod_info::{self, PodInfo};
use crate::queue::Queue;
use crate::schedule::{Decision, schedule};
use crate::snapshot::Snapshot;

/// What the edge shall do next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Bind the pod to the node, then report [`Scheduler::bound`] or [`Scheduler::bind_failed`].
    Bind {
        /// The pod.
        pod: Arc<Pod>,
        /// Name of the node.
        node: String,
    },
    /// Tell the pod's owner why it has no node.
    Refuse {
        /// The pod.
        pod: Arc<Pod>,
        /// Why.
        error: FitError,
    },
}

/// What happened to a binding that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindFailure {
    /// The pod is gone or has a node already: forget it.
    Final,
    /// Anything else: try again after a pause.
    Retry,
}

/// The books of one scheduler.
#[derive(Debug)]
pub struct Scheduler {
    name: String,
    snapshot: Snapshot,
    queue: Queue,
    /// Pods that were decided and whose node has not been seen in the API yet.
    assumed: HashSet<String>,
    /// Last state of every pod that matters, to tell what a change changed.
    pods: HashMap<String, Arc<Pod>>,
}

impl Scheduler {
    /// Begins with empty books; takes the pods that name this scheduler.
    pub fn new(name: impl Into<String>) -> Self {
        Scheduler {
            name: name.into(),
            snapshot: Snapshot::default(),
            queue: Queue::default(),
            assumed: HashSet::new(),
            pods: HashMap::new(),
        }
    }

    /// Takes a pod as it is now.
    pub fn pod_set(&mut self, pod: Arc<Pod>, now: Duration) {
        let uid = pod_info::uid(&pod).to_owned();
        let old = self.pods.insert(uid.clone(), Arc::clone(&pod));
        if pod_info::is_terminal(&pod) {
            self.leave(&uid, now);
        } else if let Some(node) = pod_info::node_name(&pod) {
            self.assumed.remove(&uid);
            self.queue.remove(&uid);
            let node = node.to_owned();
            self.snapshot.place(&PodInfo::new(pod), &node);
        } else if pod_info::is_pending(&pod, &self.name) {
            self.wait(old, pod, now);
        } else if !self.assumed.contains(&uid) {
            self.queue.remove(&uid);
        }
    }

    /// Takes that a pod is gone.
    pub fn pod_gone(&mut self, uid: &str, now: Duration) {
        self.pods.remove(uid);
        self.leave(uid, now);
    }

    /// Takes a node as it is now; `old` is how it was, `None` for a new one.
    pub fn node_set(&mut self, old: Option<&Node>, node: Arc<Node>, now: Duration) {
        let helps = match old {
            None => Cause::ALL.to_vec(),
            Some(old) => helpful(old, &node),
        };
        self.snapshot.set_node(node);
        if !helps.is_empty() {
            self.queue.happened(&helps, now);
        }
    }

    /// Takes that a node is gone.
    pub fn node_gone(&mut self, name: &str) {
        self.snapshot.remove_node(name);
    }

    /// Gives the next step, `None` when no pod is ready. `seed` chooses among equal nodes.
    pub fn next(&mut self, now: Duration, seed: u64) -> Option<Step> {
        let info = self.queue.pop(now)?;
        let pod = Arc::clone(&info.pod);
        match schedule(&self.snapshot, &info, seed) {
            Decision::Assign { node } => {
                self.snapshot.place(&info, &node);
                self.assumed.insert(info.uid().to_owned());
                Some(Step::Bind { pod, node })
            }
            Decision::Unschedulable(error) => {
                self.queue.refused(info.uid(), error.causes.clone(), now);
                Some(Step::Refuse { pod, error })
            }
        }
    }

    /// Takes that a binding was accepted. The pod keeps its place until the API shows it or its end.
    pub fn bound(&mut self, uid: &str) {
        self.queue.remove(uid);
    }

    /// Takes that a binding failed: the pod gives its place back.
    pub fn bind_failed(&mut self, uid: &str, failure: BindFailure, now: Duration) {
        if !self.assumed.remove(uid) {
            // The API showed meanwhile where it is, or that it is gone.
            return;
        }
        self.snapshot.displace(uid);
        self.queue.happened(&[Cause::Resources, Cause::Ports], now);
        let name = &self.name;
        let waits = self.pods.get(uid).is_some_and(|pod| pod_info::is_pending(pod, name));
        match failure {
            BindFailure::Retry if waits => self.queue.failed(uid, now),
            BindFailure::Retry | BindFailure::Final => {
                self.queue.remove(uid);
            }
        }
    }

    /// Gives the time at which a step may come up without any change.
    pub fn wakes_at(&self) -> Option<Duration> {
        self.queue.wakes_at()
    }

    /// Gives the books of the nodes.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Says how many pods are ready, pausing, and waiting for a change.
    pub fn queue_lengths(&self) -> (usize, usize, usize) {
        self.queue.lengths()
    }

    fn wait(&mut self, old: Option<Arc<Pod>>, pod: Arc<Pod>, now: Duration) {
        let uid = pod_info::uid(&pod);
        if self.assumed.contains(uid) {
            return;
        }
        let alike = old.is_some_and(|old| pod_info::schedules_alike(&old, &pod));
        let info = Arc::new(PodInfo::new(pod));
        if alike {
            self.queue.add(info);
        } else {
            self.queue.changed(info, now);
        }
    }

    /// Takes a pod out of all books; what it held may help others.
    fn leave(&mut self, uid: &str, now: Duration) {
        self.assumed.remove(uid);
        self.queue.remove(uid);
        if self.snapshot.displace(uid).is_some() {
            self.queue.happened(&[Cause::Resources, Cause::Ports], now);
        }
    }
}

/// Gives the causes that a change of a node may remove.
fn helpful(old: &Node, new: &Node) -> Vec<Cause> {
    let allocatable =
        |node: &Node| node.status.as_ref().map(|s| (s.allocatable.clone(), s.capacity.clone()));
    let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
    let cordoned = |node: &Node| node.spec.as_ref().and_then(|spec| spec.unschedulable);
    let mut helps = vec![];
    if allocatable(old) != allocatable(new) {
        helps.push(Cause::Resources);
    }
    if taints(old) != taints(new) {
        helps.push(Cause::Taints);
    }
    if cordoned(old) != cordoned(new) {
        helps.push(Cause::Unschedulable);
    }
    if old.metadata.labels != new.metadata.labels {
        helps.push(Cause::Affinity);
    }
    // The first filter hides the later ones, so whoever was refused may now get further.
    helps
}

#[cfg(test)]
mod tests;
