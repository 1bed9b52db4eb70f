//! Whether an ended container starts again, and when.
//!
//! *Source:* kubelet's crash loop back-off: at once, then 10 s doubling to 300 s, forgotten after
//! 10 min of running.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::plan::Role;

/// First delay, in seconds; the restart before it is immediate.
pub const DELAY_SECONDS_MIN: u64 = 10;
/// Longest delay, in seconds.
pub const DELAY_SECONDS_MAX: u64 = 300;
/// A container that ran this long, in seconds, starts its next back-off from the beginning.
pub const RESET_SECONDS: i64 = 600;

/// Tells whether a container that ended with `exit_code` is to be started again.
///
/// A container's own `restartPolicy` and `restartPolicyRules` come before the pod's policy; an
/// init container under `Always` is started again only when it failed.
#[must_use]
pub fn restarts(spec: &PodSpec, role: Role, container: &Container, exit_code: i32) -> bool {
    match role {
        Role::Sidecar => true,
        Role::Ephemeral => false,
        Role::Init => match policy(spec, container, exit_code) {
            Policy::Always | Policy::OnFailure => exit_code != 0,
            Policy::Never => false,
        },
        Role::App => match policy(spec, container, exit_code) {
            Policy::Always => true,
            Policy::OnFailure => exit_code != 0,
            Policy::Never => false,
        },
    }
}

/// Counts how often in a row a container has ended; decides the wait before its next start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Backoff {
    /// Ends since the last reset.
    pub ends: u32,
}

impl Backoff {
    /// Takes note of an end and gives the moment from which the container may start again.
    #[must_use]
    pub fn ended(&mut self, started_at: Timestamp, finished_at: Timestamp) -> Timestamp {
        if finished_at.duration_since(started_at) >= SignedDuration::from_secs(RESET_SECONDS) {
            self.ends = 0;
        }
        let delay = delay_seconds(self.ends);
        self.ends = self.ends.saturating_add(1);
        after(finished_at, delay)
    }

    /// The wait, in seconds, that the last noted end brought about.
    #[must_use]
    pub fn last_delay_seconds(&self) -> u64 {
        delay_seconds(self.ends.saturating_sub(1))
    }
}

/// Gives the wait, in seconds, before a start that follows `ends` earlier ends: 0, 10, 20, … 300.
#[must_use]
pub fn delay_seconds(ends: u32) -> u64 {
    let Some(doublings) = ends.checked_sub(1) else { return 0 };
    DELAY_SECONDS_MIN
        .checked_shl(doublings.min(16))
        .unwrap_or(DELAY_SECONDS_MAX)
        .min(DELAY_SECONDS_MAX)
}

/// Adds seconds to a moment; stays at the moment itself when the calendar ends.
#[must_use]
pub fn after(moment: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    moment.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(moment)
}

enum Policy {
    Always,
    OnFailure,
    Never,
}

fn policy(spec: &PodSpec, container: &Container, exit_code: i32) -> Policy {
    if rule_restarts(container, exit_code) {
        return Policy::Always;
    }
    let named = container.restart_policy.as_deref().or(spec.restart_policy.as_deref());
    match named {
        Some("Never") => Policy::Never,
        Some("OnFailure") => Policy::OnFailure,
        Some(_) | None => Policy::Always,
    }
}

fn rule_restarts(container: &Container, exit_code: i32) -> bool {
    container.restart_policy_rules.iter().flatten().any(|rule| {
        let Some(codes) = rule.exit_codes.as_ref() else { return false };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        rule.action == "Restart" && (codes.operator == "In") == listed
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_gaps_of_a_crash_loop_are_those_of_the_kubelet() {
        let mut backoff = Backoff::default();
        let mut gaps = Vec::new();
        let mut now = at(1_000);
        for _ in 0..8 {
            let next = backoff.ended(now, now);
            gaps.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert_eq!(gaps, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_minutes_of_running_forget_the_past() {
        let mut backoff = Backoff { ends: 6 };
        assert_eq!(backoff.ended(at(0), at(600)), at(600));
        assert_eq!(backoff.ended(at(600), at(601)), at(611));
    }

    #[test]
    fn the_policies_decide_by_exit_code() {
        let check = |policy: &str, role: Role, code: i32| {
            let spec = PodSpec { restart_policy: Some(policy.into()), ..PodSpec::default() };
            restarts(&spec, role, &Container::default(), code)
        };
        let rows = [
            ("Always", Role::App, 0, true),
            ("Always", Role::App, 1, true),
            ("OnFailure", Role::App, 0, false),
            ("OnFailure", Role::App, 1, true),
            ("Never", Role::App, 1, false),
            ("Always", Role::Init, 0, false),
            ("Always", Role::Init, 1, true),
            ("Never", Role::Init, 1, false),
            ("Never", Role::Sidecar, 0, true),
        ];
        for (policy, role, code, expected) in rows {
            assert_eq!(check(policy, role, code), expected, "{policy} {role:?} {code}");
        }
    }

    proptest! {
        #[test]
        fn delays_never_shrink_and_never_pass_the_longest(ends in 0_u32..10_000) {
            prop_assert!(delay_seconds(ends) <= delay_seconds(ends + 1));
            prop_assert!(delay_seconds(ends) <= DELAY_SECONDS_MAX);
        }

        #[test]
        fn a_restart_is_never_before_the_end(runs in prop::collection::vec((0_i64..2_000, 0_i64..10), 1..40)) {
            let mut backoff = Backoff::default();
            let mut now = 0;
            for (ran, idle) in runs {
                let started = at(now + idle);
                let finished = at(now + idle + ran);
                let next = backoff.ended(started, finished);
                prop_assert!(next >= finished);
                prop_assert!(ran < RESET_SECONDS || next == finished);
                now = next.as_second();
            }
        }
    }
}
