//! How fast failed pods are replaced: ever slower while they keep failing.

use std::time::Duration;

use jiff::Timestamp;

use super::observe::{FAILURES, Pods, Rules, ended_at, number};
use super::policy::{Verdict, judge};
use crate::objects::phase;

/// The first pause, doubled with each further failure. *Source:* Kubernetes docs, "Jobs: Pod
/// backoff failure policy".
const PAUSE_FIRST: Duration = Duration::from_secs(10);

/// The longest pause. *Source:* as above.
const PAUSE_MAX: Duration = Duration::from_secs(600);

fn pause(n_failures: u32) -> Duration {
    let Some(doublings) = n_failures.checked_sub(1) else { return Duration::ZERO };
    PAUSE_FIRST.saturating_mul(1 << doublings.min(16)).min(PAUSE_MAX)
}

/// What is left of the pause. A failure that is further ahead than its pause comes from before the clock was set
/// back, and holds up nothing; one that is less ahead, from a host whose clock is a bit fast, counts as just now.
fn rest(last: Timestamp, n_failures: u32, now: Timestamp) -> Option<Duration> {
    let pause = pause(n_failures);
    let rest = match Duration::try_from(now.duration_since(last)) {
        Ok(since) => pause.saturating_sub(since),
        Err(_ahead) if last.duration_since(now).unsigned_abs() > pause => Duration::ZERO,
        Err(_ahead) => pause,
    };
    Some(rest).filter(|rest| !rest.is_zero())
}

/// Gives how long to wait before the next pod; a success in between begins anew.
pub(super) fn of_job(rules: &Rules, pods: &Pods, now: Timestamp) -> Option<Duration> {
    let succeeded = pods.all.iter().filter(|pod| phase(pod) == "Succeeded");
    let success = succeeded.filter_map(|pod| ended_at(pod)).max();
    let counts =
        |pod: &&std::sync::Arc<_>| rules.has_failed(pod) && judge(rules, pod) == Verdict::Count;
    let failures = pods.all.iter().filter(counts).filter_map(|pod| ended_at(pod));
    let failures: Vec<Timestamp> =
        failures.filter(|ended| success.is_none_or(|success| *ended > success)).collect();
    let n = u32::try_from(failures.len()).unwrap_or(u32::MAX);
    rest(failures.into_iter().max()?, n, now)
}

/// Gives how long an index has to wait before its next pod.
pub(super) fn of_index(rules: &Rules, pods: &Pods, index: i32, now: Timestamp) -> Option<Duration> {
    let failed = pods.all.iter().filter(|pod| rules.has_failed(pod));
    let last =
        failed.filter(|pod| rules.index_of(pod) == Some(index)).max_by_key(|pod| ended_at(pod))?;
    let n = u32::try_from(number(last, FAILURES)).unwrap_or(0).saturating_add(1);
    rest(ended_at(last)?, n, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_counted_from_the_last_failure_whatever_the_clock_did() {
        let now = Timestamp::from_second(10_000).unwrap();
        for (last, n_failures, expected) in [
            (10_000, 0, None),
            (10_000, 1, Some(10)),
            (9_993, 1, Some(3)),
            (9_990, 1, None),
            (10_004, 1, Some(10)),
            (10_011, 1, None),
            (13_600, 8, None),
            (10_500, 8, Some(600)),
        ] {
            let rest = rest(Timestamp::from_second(last).unwrap(), n_failures, now);
            assert_eq!(rest, expected.map(Duration::from_secs), "{last} {n_failures}");
        }
    }
}
