//! Whether this host takes a pod that was bound to it.

use k8s_openapi::api::core::v1::Pod;

use crate::effects::Shared;
use crate::pods::state::PodVerdict;
use crate::pods::status::{Phase, phase};
use crate::worker::Worker;

/// Judges a new pod beside those that are here; gives nothing when it may run.
///
/// *Source:* kubelet's admission handlers; the words are theirs.
pub(crate) fn judge<'a>(
    shared: &Shared,
    pod: &Pod,
    workers: impl Iterator<Item = &'a Worker>,
) -> Option<PodVerdict> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let active = workers.filter(|worker| {
        let shown = phase(&worker.pod, &worker.state);
        worker.state.verdict.is_none() && !matches!(shown, Phase::Succeeded | Phase::Failed)
    });
    let used = active.count();
    let capacity = usize::try_from(shared.config.pods_max).unwrap_or(usize::MAX);
    (used >= capacity).then(|| PodVerdict {
        reason: "OutOfpods".into(),
        message: format!(
            "Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: {used}, capacity: {capacity}"
        ),
    })
}
