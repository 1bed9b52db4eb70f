//! What to do about a Lease as it was just read: pure, with the clock as input.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;

use super::LeaseConfig;

/// The next step of a candidate.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Create this Lease: nobody ever held it.
    Create(Box<Lease>),
    /// Replace the Lease by this, to renew or to take over.
    Replace(Box<Lease>),
    /// Another leads; look again later.
    Wait,
}

/// What a candidate has seen: when, by its own clock, the Lease last changed.
///
/// The clocks of two machines are never compared: a holder is silent when its Lease has not
/// changed for the lease's duration as measured here.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    version: Option<String>,
    since: Duration,
}

impl Sighting {
    /// Decides; `elapsed` is this process's monotonic time, `now` goes into the Lease.
    pub(super) fn step(
        &mut self,
        config: &LeaseConfig,
        lease: Option<&Lease>,
        elapsed: Duration,
        now: Timestamp,
    ) -> Step {
        let Some(lease) = lease else {
            return Step::Create(Box::new(held(config, None, now)));
        };
        if self.version != lease.metadata.resource_version {
            self.version.clone_from(&lease.metadata.resource_version);
            self.since = elapsed;
        }
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        let silence = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let free = holder.is_empty() || elapsed.saturating_sub(self.since) >= silence;
        if holder == config.identity || config.alone || free {
            Step::Replace(Box::new(held(config, Some(lease), now)))
        } else {
            Step::Wait
        }
    }
}

/// The Lease given back, so that another takes over at once; `None` when it is not ours.
///
/// *Source:* `ReleaseOnCancel` of client-go's leader election.
pub(super) fn released(config: &LeaseConfig, lease: &Lease, now: Timestamp) -> Option<Lease> {
    let mut lease = lease.clone();
    let spec = lease.spec.as_mut()?;
    if spec.holder_identity.as_deref() != Some(&config.identity) {
        return None;
    }
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(now));
    Some(lease)
}

fn held(config: &LeaseConfig, before: Option<&Lease>, now: Timestamp) -> Lease {
    let old = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let same = old.holder_identity.as_deref() == Some(&config.identity);
    let transitions = old.lease_transitions.unwrap_or(0);
    let fresh = ObjectMeta {
        namespace: Some(config.namespace.clone()),
        name: Some(config.name.clone()),
        ..ObjectMeta::default()
    };
    Lease {
        metadata: before.map_or(fresh, |lease| lease.metadata.clone()),
        spec: Some(LeaseSpec {
            holder_identity: Some(config.identity.clone()),
            lease_duration_seconds: i32::try_from(config.duration.as_secs()).ok(),
            acquire_time: if same { old.acquire_time.clone() } else { Some(MicroTime(now)) },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions + i32::from(!same && before.is_some())),
            ..old
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn stored(mut lease: Lease, version: &str) -> Lease {
        lease.metadata.resource_version = Some(version.into());
        lease
    }

    #[test]
    fn what_is_given_back_or_left_by_an_ended_process_is_taken_at_once() {
        let now = Timestamp::from_second(1000).unwrap();
        let (a, b) = (LeaseConfig::new("n", "l", "a"), LeaseConfig::new("n", "l", "b"));
        let (mut at_a, mut at_b) = (Sighting::default(), Sighting::default());
        let Step::Create(lease) = at_a.step(&a, None, seconds(0), now) else { panic!() };
        let lease = stored(*lease, "1");
        assert_eq!(at_b.step(&b, Some(&lease), seconds(1), now), Step::Wait);
        let alone = LeaseConfig { alone: true, ..b.clone() };
        let taken = Sighting::default().step(&alone, Some(&lease), seconds(1), now);
        assert!(matches!(taken, Step::Replace(_)));
        assert_eq!(released(&b, &lease, now), None);
        let back = stored(released(&a, &lease, now).unwrap(), "2");
        let taken = at_b.step(&b, Some(&back), seconds(1), now);
        let Step::Replace(taken) = taken else { panic!("{taken:?}") };
        let spec = taken.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("b"));
        assert_eq!(spec.lease_duration_seconds, Some(15));
    }

    #[test]
    fn the_first_creates_it_and_the_second_takes_over_after_silence() {
        let now = Timestamp::from_second(1000).unwrap();
        let (a, b) = (LeaseConfig::new("n", "l", "a"), LeaseConfig::new("n", "l", "b"));
        let (mut at_a, mut at_b) = (Sighting::default(), Sighting::default());
        let Step::Create(lease) = at_a.step(&a, None, seconds(0), now) else { panic!() };
        let lease = stored(*lease, "1");
        assert_eq!(at_b.step(&b, Some(&lease), seconds(100), now), Step::Wait);
        assert_eq!(at_b.step(&b, Some(&lease), seconds(114), now), Step::Wait);
        let Step::Replace(renewed) = at_a.step(&a, Some(&lease), seconds(14), now) else {
            panic!()
        };
        let renewed = stored(*renewed, "2");
        assert_eq!(at_b.step(&b, Some(&renewed), seconds(115), now), Step::Wait);
        let Step::Replace(taken) = at_b.step(&b, Some(&renewed), seconds(130), now) else {
            panic!()
        };
        let spec = taken.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("b"));
        assert_eq!(spec.lease_transitions, Some(1));
    }
}
