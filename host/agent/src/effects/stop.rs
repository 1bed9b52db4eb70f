//! Stops a container: event, `preStop` hook, stop notice.

use std::time::Duration;

use jiff::Timestamp;

use super::{Shared, Target, hooks};
use crate::clock::now;
use crate::pods::notes::{StopReason, killing};
use crate::pods::plan::{self, Index};
use crate::pods::reconcile::time_left;
use crate::pods::state::{Note, PodEvent};
use crate::record::record;

/// What a container still gets after its `preStop` hook has used up the grace period.
///
/// *Source:* kubelet's minimum grace period in seconds.
const GRACE_AFTER_HOOK: Duration = Duration::from_secs(2);

/// Tells a container to stop before `deadline`.
pub(crate) async fn stop(
    shared: &Shared,
    target: &Target,
    index: Index,
    reason: StopReason,
    deadline: Timestamp,
) {
    let Some(container) = plan::container(&target.pod, index) else { return };
    let message = killing(&container.name, reason);
    let note = Note { warning: false, reason: "Killing", message, container: Some(index) };
    record(&shared.recorder, &target.pod, note);
    let grace = time_left(deadline, now());
    let hook = container.lifecycle.as_ref().and_then(|hooks| hooks.pre_stop.as_ref());
    let mut least = Duration::ZERO;
    if let Some(hook) = hook.filter(|_| !grace.is_zero()) {
        let run = hooks::run(shared, target, container, hook, grace);
        let done = tokio::time::timeout(grace, run).await;
        let failure = match done {
            Ok(done) => done.err(),
            Err(_) => Some(format!("not over after {}s", grace.as_secs())),
        };
        if let Some(message) = failure {
            shared.tell(&target.key.uid, PodEvent::PreStopFailed { index, message });
        }
        least = GRACE_AFTER_HOOK;
    }
    let left = time_left(deadline, now()).max(least);
    shared.runtime.stop(&target.key, &container.name, left);
}

/// Shortens the time of a container that has been told to stop before.
pub(crate) fn hurry(shared: &Shared, target: &Target, index: Index, deadline: Timestamp) {
    if let Some(container) = plan::container(&target.pod, index) {
        shared.runtime.stop(&target.key, &container.name, time_left(deadline, now()));
    }
}
