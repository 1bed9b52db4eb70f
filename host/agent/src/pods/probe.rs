//! The thresholds of one probe: results in, verdicts and due times out.
//!
//! *Source:* kubelet's prober worker. Never here: sockets, clock.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Probe};

use super::restart::after;

/// Which of a container's three probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Holds back the other two until it succeeds; its failure ends the container.
    Startup,
    /// Its failure ends the container.
    Liveness,
    /// Its failure takes the pod out of its Services.
    Readiness,
}

impl ProbeKind {
    /// All kinds, in the order in which they are looked at.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The word that upstream's messages begin with.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// Gives the probe of this kind that `container` declares.
    #[must_use]
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// What one attempt found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container answered as asked.
    Success,
    /// It did not; the text says how, as upstream words it.
    Failure(String),
    /// The attempt itself went wrong; nothing follows from it.
    Unknown(String),
}

/// The standing verdict of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good, or not yet contradicted (liveness starts here).
    Success,
    /// Bad, or not yet proven (readiness starts here).
    Failure,
    /// Nothing known (startup starts here).
    Unknown,
}

/// One probe of one life of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeState {
    /// Which probe.
    pub kind: ProbeKind,
    /// The verdict that stands.
    pub verdict: Verdict,
    /// When the next attempt is due.
    pub due: Timestamp,
    /// An attempt is under way.
    pub in_flight: bool,
    last: Option<bool>,
    run: i32,
}

impl ProbeState {
    /// A probe of a container that started at `started_at`; the first attempt is due after
    /// `initialDelaySeconds`.
    #[must_use]
    pub fn new(kind: ProbeKind, probe: &Probe, started_at: Timestamp) -> Self {
        let verdict = match kind {
            ProbeKind::Startup => Verdict::Unknown,
            ProbeKind::Liveness => Verdict::Success,
            ProbeKind::Readiness => Verdict::Failure,
        };
        let delay = u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0);
        Self { kind, verdict, due: after(started_at, delay), in_flight: false, last: None, run: 0 }
    }

    /// Takes one result; the next attempt is due one period after `now`.
    ///
    /// Gives true when the standing verdict changed.
    pub fn take(&mut self, probe: &Probe, outcome: &Outcome, now: Timestamp) -> bool {
        self.in_flight = false;
        self.due = now.checked_add(period(probe)).unwrap_or(now);
        let success = match outcome {
            Outcome::Success => true,
            Outcome::Failure(_) => false,
            Outcome::Unknown(_) => return false,
        };
        self.run = if self.last == Some(success) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(success);
        let threshold = if success {
            probe.success_threshold.unwrap_or(1)
        } else {
            probe.failure_threshold.unwrap_or(3)
        };
        if self.run < threshold {
            return false;
        }
        let verdict = if success { Verdict::Success } else { Verdict::Failure };
        std::mem::replace(&mut self.verdict, verdict) != verdict
    }
}

/// Gives the time between two attempts.
#[must_use]
pub fn period(probe: &Probe) -> SignedDuration {
    SignedDuration::from_secs(i64::from(probe.period_seconds.unwrap_or(10).max(1)))
}

/// Gives the time after which an attempt has failed.
#[must_use]
pub fn timeout(probe: &Probe) -> std::time::Duration {
    let seconds = u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1);
    std::time::Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ProbeKind, probe: &Probe, outcomes: &str) -> String {
        let mut state = ProbeState::new(kind, probe, Timestamp::UNIX_EPOCH);
        let mut shown = String::new();
        for (outcome, second) in outcomes.chars().zip(0_i64..) {
            let outcome = match outcome {
                's' => Outcome::Success,
                'f' => Outcome::Failure(String::new()),
                _ => Outcome::Unknown(String::new()),
            };
            state.take(probe, &outcome, Timestamp::from_second(second).unwrap());
            shown.push(match state.verdict {
                Verdict::Success => 'S',
                Verdict::Failure => 'F',
                Verdict::Unknown => 'U',
            });
        }
        shown
    }

    fn thresholds(success: i32, failure: i32) -> Probe {
        Probe {
            success_threshold: Some(success),
            failure_threshold: Some(failure),
            ..Probe::default()
        }
    }

    #[test]
    fn thresholds_count_results_in_a_row() {
        let rows = [
            (ProbeKind::Liveness, thresholds(1, 3), "ffsfff", "SSSSSF"),
            (ProbeKind::Readiness, thresholds(2, 1), "ssfss", "FSFFS"),
            (ProbeKind::Readiness, thresholds(1, 3), "sffusf", "SSSSSS"),
            (ProbeKind::Startup, thresholds(1, 2), "ufsf", "UUSS"),
            (ProbeKind::Startup, thresholds(1, 2), "fuf", "UUF"),
        ];
        for (kind, probe, outcomes, expected) in rows {
            assert_eq!(check(kind, &probe, outcomes), expected, "{kind:?} {outcomes}");
        }
    }

    #[test]
    fn the_first_attempt_waits_for_the_initial_delay_and_the_next_for_a_period() {
        let probe =
            Probe { initial_delay_seconds: Some(5), period_seconds: Some(2), ..Probe::default() };
        let start = Timestamp::from_second(100).unwrap();
        let mut state = ProbeState::new(ProbeKind::Readiness, &probe, start);
        assert_eq!(state.due.as_second(), 105);
        state.take(&probe, &Outcome::Success, state.due);
        assert_eq!(state.due.as_second(), 107);
    }
}
