//! The numbers of a Job's status, and when two statuses tell the same.

use k8s_openapi::api::batch::v1::{JobStatus, UncountedTerminatedPods};

use super::observe::Pods;
use crate::objects::is_ready;

/// Writes how many pods are doing what.
pub(super) fn count(status: &mut JobStatus, pods: &Pods) {
    let n = |n: usize| Some(i32::try_from(n).unwrap_or(i32::MAX));
    status.active = n(pods.active.len());
    status.ready = n(pods.active.iter().filter(|pod| is_ready(pod)).count());
    status.terminating = n(pods.terminating.len());
}

/// Gives a status in the form in which two are compared: what is empty left out.
pub(super) fn normal(status: Option<&JobStatus>) -> JobStatus {
    let mut status = status.cloned().unwrap_or_default();
    let counts = [
        &mut status.active,
        &mut status.ready,
        &mut status.terminating,
        &mut status.succeeded,
        &mut status.failed,
    ];
    for count in counts {
        *count = count.filter(|n| *n != 0);
    }
    for text in [&mut status.completed_indexes, &mut status.failed_indexes] {
        *text = text.take().filter(|text| !text.is_empty());
    }
    status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
    status.uncounted_terminated_pods = status
        .uncounted_terminated_pods
        .map(|waiting| UncountedTerminatedPods {
            failed: waiting.failed.filter(|list| !list.is_empty()),
            succeeded: waiting.succeeded.filter(|list| !list.is_empty()),
        })
        .filter(|waiting| *waiting != UncountedTerminatedPods::default());
    status
}
