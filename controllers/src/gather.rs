//! How long changes of pods gather until what they belong to is looked at.
//!
//! A look at a ReplicaSet or a Service reads all its pods, and pods change one by one: with a look for each change, it
//! costs the square of its pods.

use std::time::Duration;

/// Pods up to which every change is looked at at once: as many as one pass of a ReplicaSet makes.
const AT_ONCE_PODS_MAX: usize = 500;

/// Time for each pod between two looks. A look at a pod takes one or two microseconds, so that what has many takes about
/// a tenth of a core, however many these are.
const PER_POD: Duration = Duration::from_micros(20);

/// Longest time, so that even of 100,000 pods it is noticed in a second that one was lost.
pub(crate) const GATHERS_MAX: Duration = Duration::from_secs(1);

/// Gives how long changes gather for what has so many pods: not at all where there are few.
pub(crate) fn gathers(pods: usize) -> Duration {
    if pods <= AT_ONCE_PODS_MAX {
        return Duration::ZERO;
    }
    PER_POD.saturating_mul(u32::try_from(pods).unwrap_or(u32::MAX)).min(GATHERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_many_pods_waits_and_not_for_long() {
        let check =
            |pods, millis| assert_eq!(gathers(pods), Duration::from_millis(millis), "{pods}");
        check(0, 0);
        check(500, 0);
        check(1_000, 20);
        check(10_000, 200);
        check(10_000_000, 1_000);
    }
}
