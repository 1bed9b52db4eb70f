//! The scheduler's books and its next step, without any IO.
//!
//! Flow: changes of pods and nodes come in, [`Scheduler::next`] gives one step after the other, the
//! edge carries it out and reports the end of each binding. A decided pod holds its place at once
//! (it is *assumed*), so the next decision does not wait for the API server.

mod together;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::budgets::Budgets;
use crate::condition::nomination;
use crate::filters::Cause;
use crate::fit_error::FitError;
use crate::groups::{Group, Groups};
use crate::pod_info::{self, PodInfo};
use crate::profile::{Allocation, Profile, Profiles};
use crate::queue::Queue;
use crate::schedule::{Decision, is_awaited, schedule_from};
use crate::snapshot::Snapshot;
use crate::volumes::Volumes;

/// What another pod's coming may help: one that wanted to be near it, or a lower place to catch up.
const OTHER_PODS: [Cause; 2] = [Cause::Spread, Cause::PodAffinity];

/// What another pod's leaving may help.
const LEFT: [Cause; 5] =
    [Cause::Resources, Cause::Ports, Cause::Spread, Cause::PodAffinity, Cause::Volumes];

/// Decisions after which the search begins at other nodes. Until then the same nodes are looked at first, which are
/// near the processor and would do just as well; upstream goes on by as many nodes as it looked at.
const DECISIONS_PER_START: u32 = 64;

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
    /// Displace pods of lower priority and tell the pod's owner; the pod is tried again when they
    /// are gone.
    Preempt {
        /// The pod that needs room.
        pod: Arc<Pod>,
        /// Name of the node that is cleared.
        node: String,
        /// The pods to delete.
        victims: Vec<Arc<Pod>>,
        /// Why no node takes the pod now.
        error: FitError,
    },
    /// Tell the pod's owner why it has no node.
    Refuse {
        /// The pod.
        pod: Arc<Pod>,
        /// Why.
        error: FitError,
        /// Name of the node that is still being cleared for it.
        nominated: Option<String>,
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
    snapshot: Snapshot,
    queue: Queue,
    /// Pods that were decided and whose node has not been seen in the API yet.
    assumed: HashSet<String>,
    /// Last state of every pod that matters, to tell what a change changed.
    pods: HashMap<String, Arc<Pod>>,
    groups: Groups,
    /// Steps that were decided together and not given yet.
    decided: VecDeque<Step>,
    /// Where the search begins, and for how many decisions it has.
    start: (u64, u32),
}

impl Scheduler {
    /// Begins with empty books; takes the pods that name this scheduler.
    pub fn new(name: impl Into<String>) -> Self {
        Scheduler::with_profiles([Profile { name: name.into(), allocation: Allocation::Least }])
    }

    /// Begins with empty books; takes the pods that name one of the profiles.
    pub fn with_profiles(profiles: impl IntoIterator<Item = Profile>) -> Self {
        let mut snapshot = Snapshot::default();
        snapshot.profiles = Profiles::new(profiles);
        Scheduler {
            snapshot,
            queue: Queue::default(),
            assumed: HashSet::new(),
            pods: HashMap::new(),
            groups: Groups::default(),
            decided: VecDeque::new(),
            start: (0, 0),
        }
    }

    /// Takes a pod as it is now.
    pub fn pod_set(&mut self, pod: Arc<Pod>, now: Duration) {
        let uid = pod_info::uid(&pod).to_owned();
        let old = self.pods.insert(uid.clone(), Arc::clone(&pod));
        self.count_in_group(&pod, &uid, now);
        if pod_info::is_terminal(&pod) {
            self.leave(&uid, now);
        } else if let Some(node) = pod_info::node_name(&pod) {
            self.assumed.remove(&uid);
            self.queue.remove(&uid);
            let node = node.to_owned();
            let alone = self.snapshot.place_of(&uid).is_none();
            self.snapshot.place(&Arc::new(PodInfo::new(pod)), &node);
            if alone {
                self.queue.happened(&OTHER_PODS, now);
            }
        } else if self.is_own(&pod) {
            self.wait(old, pod, now);
        } else if !self.assumed.contains(&uid) {
            self.queue.remove(&uid);
        }
    }

    /// Takes that a pod is gone.
    pub fn pod_gone(&mut self, uid: &str, now: Duration) {
        self.pods.remove(uid);
        self.groups.leave(uid);
        self.leave(uid, now);
    }

    /// Takes a node as it is now; `old` is how it was, `None` for a new one.
    pub fn node_set(&mut self, old: Option<&Node>, node: Arc<Node>, now: Duration) {
        let mut helps = match old {
            None => Cause::ALL.to_vec(),
            Some(old) => helpful(old, &node),
        };
        if !helps.is_empty() && self.snapshot.has_nominated() {
            // Whoever has others leave it may find that it takes nobody any more.
            helps.extend(LEFT);
        }
        self.snapshot.set_node(node);
        if !helps.is_empty() {
            self.queue.happened(&helps, now);
        }
    }

    /// Takes that a node is gone.
    pub fn node_gone(&mut self, name: &str, now: Duration) {
        self.snapshot.remove_node(name);
        self.queue.happened(&[Cause::Spread], now);
        if self.snapshot.has_nominated() {
            self.queue.happened(&LEFT, now);
        }
    }

    /// Gives the next step, `None` when no pod is ready. `seed` chooses among equal nodes.
    pub fn next(&mut self, now: Duration, seed: u64) -> Option<Step> {
        if let Some(step) = self.decided.pop_front() {
            return Some(step);
        }
        let info = self.queue.pop(now)?;
        let start = self.start(seed);
        if let Some(group) = info.group.clone()
            && self.groups.placed(&group) < group.min.unwrap_or(usize::MAX)
        {
            self.decide_together(&group, info, (start, seed), now);
            return self.decided.pop_front();
        }
        let pod = Arc::clone(&info.pod);
        match schedule_from(&self.snapshot, &info, start, seed) {
            Decision::Assign { node } => {
                self.assume(&info, &node);
                self.queue.happened(&OTHER_PODS, now);
                Some(Step::Bind { pod, node })
            }
            Decision::Preempt { preemption, error } => {
                self.snapshot.nominate(Arc::clone(&info), &preemption.node);
                self.queue.refused(info.uid(), error.causes.clone(), now);
                let victims = preemption.victims.iter().map(|pod| Arc::clone(&pod.pod)).collect();
                Some(Step::Preempt { pod, node: preemption.node, victims, error })
            }
            Decision::Unschedulable(error) => {
                self.queue.refused(info.uid(), error.causes.clone(), now);
                let nominated = self.keep_or_give_up(&info, now);
                Some(Step::Refuse { pod, error, nominated })
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
        self.queue.happened(&LEFT, now);
        let pod = self.pods.get(uid).cloned();
        let waits = pod.as_ref().is_some_and(|pod| self.is_own(pod));
        if let Some(pod) = pod {
            self.count_in_group(&pod, uid, now);
        }
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

    /// Takes a namespace's labels as they are now.
    pub fn namespace_set(&mut self, name: &str, labels: BTreeMap<String, String>, now: Duration) {
        if self.snapshot.namespaces.set(name, labels) {
            self.queue.happened(&[Cause::PodAffinity], now);
        }
    }

    /// Takes that a namespace is gone.
    pub fn namespace_gone(&mut self, name: &str) {
        self.snapshot.namespaces.remove(name);
    }

    /// Takes a change of claims, volumes or classes.
    pub fn volumes_changed(&mut self, change: impl FnOnce(&mut Volumes), now: Duration) {
        change(&mut self.snapshot.volumes);
        self.queue.happened(&[Cause::Volumes], now);
    }

    /// Gives the budgets, to take changes of PodDisruptionBudgets into.
    pub fn budgets(&mut self) -> &mut Budgets {
        &mut self.snapshot.budgets
    }

    /// Gives where the search begins: the same for some decisions.
    fn start(&mut self, seed: u64) -> u64 {
        let (start, served) = self.start;
        self.start = if served.is_multiple_of(DECISIONS_PER_START) {
            (seed, 1)
        } else {
            (start, served + 1)
        };
        self.start.0
    }

    /// Tells whether a pod waits for one of our profiles.
    fn is_own(&self, pod: &Pod) -> bool {
        pod_info::is_pending(pod) && self.snapshot.profiles.takes(pod_info::scheduler_name(pod))
    }

    /// Gives a pod its place before the API shows it.
    fn assume(&mut self, info: &Arc<PodInfo>, node: &str) {
        self.snapshot.place(info, node);
        self.assumed.insert(info.uid().to_owned());
        if let Some(group) = &info.group {
            self.groups.place(group, info.uid());
        }
    }

    /// Takes where a pod stands in its group; one more may be what the others wait for.
    fn count_in_group(&mut self, pod: &Pod, uid: &str, now: Duration) {
        let Some(group) = Group::of(pod) else { return self.groups.leave(uid) };
        let is_new = if pod_info::node_name(pod).is_some() || self.assumed.contains(uid) {
            self.groups.place(&group, uid)
        } else if self.is_own(pod) {
            self.groups.wait(&group, uid)
        } else {
            self.groups.leave(uid);
            false
        };
        if is_new {
            self.queue.happened(&[Cause::Group], now);
        }
    }

    /// A node that was being cleared stays kept only while pods are still leaving it.
    fn keep_or_give_up(&mut self, info: &PodInfo, now: Duration) -> Option<String> {
        if is_awaited(&self.snapshot, info) {
            return self.snapshot.nomination_of(info.uid()).map(str::to_owned);
        }
        self.give_up(info.uid(), now);
        None
    }

    /// Stops keeping room for a pod; others may have waited behind it.
    fn give_up(&mut self, uid: &str, now: Duration) {
        if self.snapshot.give_up(uid).is_some() {
            self.queue.happened(&LEFT, now);
        }
    }

    fn wait(&mut self, old: Option<Arc<Pod>>, pod: Arc<Pod>, now: Duration) {
        let uid = pod_info::uid(&pod);
        if self.assumed.contains(uid) {
            return;
        }
        if old.is_none()
            && let Some(node) = nomination(&pod)
        {
            // A scheduler before this one had begun to clear the node.
            let node = node.to_owned();
            self.snapshot.nominate(Arc::new(PodInfo::new(Arc::clone(&pod))), &node);
        }
        let alike = old.is_some_and(|old| pod_info::schedules_alike(&old, &pod));
        let info = Arc::new(PodInfo::new(pod));
        self.snapshot.prepare(&info);
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
        self.give_up(uid, now);
        if self.snapshot.displace(uid).is_some() {
            self.queue.happened(&LEFT, now);
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
        helps.extend([Cause::Affinity, Cause::Spread, Cause::PodAffinity, Cause::Volumes]);
    }
    // The first filter hides the later ones, so whoever was refused may now get further.
    helps
}

#[cfg(test)]
mod tests;
