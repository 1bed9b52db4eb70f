//! A Job's fields resolved, and what each of its pods is to it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::TRACKING;
use crate::objects::{annotation, is_active, is_deleting, is_terminal, phase};

/// Annotation and label of a pod's completion index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation: failures of the index before this pod that count.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation: failures of the index before this pod that were ignored.
pub(super) const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// The fields of a Job, resolved.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) spec: JobSpec,
    /// Pods at once.
    pub(super) parallelism: i32,
    /// `None`: any success completes a work queue.
    pub(super) completions: Option<i32>,
    pub(super) is_indexed: bool,
    pub(super) is_suspended: bool,
    /// A pod that is being deleted is neither failed nor replaced before it has ended.
    pub(super) waits_for_end: bool,
    pub(super) backoff_limit: i32,
    pub(super) per_index: Option<i32>,
}

impl Rules {
    pub(super) fn of(job: &Job) -> Rules {
        let spec = job.spec.clone().unwrap_or_default();
        let policy = spec.pod_replacement_policy.as_deref();
        Rules {
            parallelism: spec.parallelism.unwrap_or(1).max(0),
            completions: spec.completions,
            is_indexed: spec.completion_mode.as_deref() == Some("Indexed"),
            is_suspended: spec.suspend.unwrap_or(false),
            waits_for_end: policy == Some("Failed") || spec.pod_failure_policy.is_some(),
            backoff_limit: spec.backoff_limit.unwrap_or(6),
            per_index: spec.backoff_limit_per_index,
            spec,
        }
    }

    /// Gives the number of indexes of an indexed Job.
    pub(super) fn n_indexes(&self) -> i32 {
        self.completions.unwrap_or(0).max(0)
    }

    /// Says whether a pod's end is a failure: it failed, or somebody took it away.
    ///
    /// *Source:* Kubernetes docs, "Jobs: Pod replacement policy".
    pub(super) fn has_failed(&self, pod: &Pod) -> bool {
        phase(pod) == "Failed"
            || (!self.waits_for_end && is_deleting(&pod.metadata) && phase(pod) != "Succeeded")
    }

    /// Gives the index of a pod, `None` when it has none within the completions.
    pub(super) fn index_of(&self, pod: &Pod) -> Option<i32> {
        let index: i32 = annotation(&pod.metadata, INDEX)?.parse().ok()?;
        (0..self.n_indexes()).contains(&index).then_some(index)
    }
}

/// Says whether a pod's end is yet to be counted.
pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

/// Gives a number that an annotation holds, 0 without one.
pub(super) fn number(pod: &Pod, key: &str) -> i32 {
    annotation(&pod.metadata, key).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The own pods by what they are doing.
#[derive(Debug, Clone, Default)]
pub(super) struct Pods {
    pub(super) all: Vec<Arc<Pod>>,
    /// Neither ended nor asked to.
    pub(super) active: Vec<Arc<Pod>>,
    /// Asked to end and not there yet.
    pub(super) terminating: Vec<Arc<Pod>>,
}

impl Pods {
    pub(super) fn of(all: Vec<Arc<Pod>>) -> Pods {
        let active = all.iter().filter(|pod| is_active(pod)).cloned().collect();
        let leaves = |pod: &&Arc<Pod>| is_deleting(&pod.metadata) && !is_terminal(pod);
        let terminating = all.iter().filter(leaves).cloned().collect();
        Pods { all, active, terminating }
    }
}

/// Gives the statuses of all containers, the init containers among them.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().flatten().chain(main.into_iter().flatten())
}

/// Gives when a pod ended, as far as it tells.
pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let ends = containers(pod).filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        ended.finished_at.as_ref().map(|time| time.0)
    });
    let meta = &pod.metadata;
    let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0));
    let asked = meta.deletion_timestamp.as_ref().map(|time| time.0 - grace);
    let made = meta.creation_timestamp.as_ref().map(|time| time.0);
    ends.max().or(asked).or(made)
}
