//! How fast failed pods are replaced: at once at first, ever slower when all of them fail.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::objects::phase;

/// Failed pods that are replaced without a pause: a node that goes takes a few with it.
const FREE_FAILURES: u32 = 5;

/// The first pause, doubled with each further failure. Upstream has none, and a template that no
/// node takes makes thousands of pods in a minute there.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Failures older than this are forgotten.
const MEMORY: SignedDuration = SignedDuration::from_mins(15);

/// Gives how long to wait before pods are created again; `None`: not at all.
pub(super) fn pause(own: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let failed = own.iter().filter(|pod| phase(pod) == "Failed");
    let made: Vec<Timestamp> = failed
        .filter_map(|pod| pod.metadata.creation_timestamp.as_ref())
        .map(|time| time.0)
        .filter(|made| now.duration_since(*made) < MEMORY)
        .collect();
    let beyond = u32::try_from(made.len()).ok()?.checked_sub(FREE_FAILURES + 1)?;
    let pause = PAUSE_FIRST.saturating_mul(1 << beyond.min(16)).min(PAUSE_MAX);
    let since = now.duration_since(made.into_iter().max()?);
    let since = Duration::try_from(since).unwrap_or_default();
    Some(pause.saturating_sub(since)).filter(|rest| !rest.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(n_failed: usize, seconds_ago: i64, expected: Option<u64>) {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let made = (now - SignedDuration::from_secs(seconds_ago)).to_string();
        let pod = json!({"metadata": {"creationTimestamp": made}, "status": {"phase": "Failed"}});
        let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).unwrap());
        let actual = pause(&vec![pod; n_failed], now);
        assert_eq!(actual.map(|rest| rest.as_secs()), expected, "{n_failed} {seconds_ago}");
    }

    #[test]
    fn a_few_are_free_then_it_doubles_up_to_its_bound_and_is_forgotten() {
        check(5, 0, None);
        check(6, 0, Some(1));
        check(6, 1, None);
        check(8, 1, Some(3));
        check(60, 0, Some(300));
        check(60, 1000, None);
    }
}
