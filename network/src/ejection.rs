//! Backends that did not take connections lately, or answered one request after another with a failure, and are
//! left out for a while: found out by use, before the API says that they are not ready. Pure.
//!
//! What most backends of a Service answer alike is its application's affair, and no reason to send clients
//! elsewhere: failing answers leave out half of them at most.
//!
//! *Source:* the outlier detection of Envoy (`consecutive_5xx`), and its panic threshold.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::table::ServicePort;

/// How long a backend is left out after its first failure; twice as long after each that follows.
pub const REST_FIRST: Duration = Duration::from_secs(1);

/// The longest time that a backend is left out: a pod that comes back behind the same address is
/// found again within it.
pub const REST_MAX: Duration = Duration::from_secs(30);

/// How long after its rest a backend counts as one that failed before.
const SUSPECT: Duration = Duration::from_secs(60);

/// Answers with a failure, one after another, before a backend is left out for them. *Source:* Envoy's
/// `consecutive_5xx`. After its rest the first answer decides.
pub const FAILURES_MAX: u32 = 5;

/// Backends that are remembered; one more is not, and is tried and passed over as long as it fails.
pub const BACKENDS_MAX: usize = 4096;

/// What is remembered of backends that failed.
#[derive(Debug, Default)]
pub struct Ejections {
    faults: HashMap<SocketAddr, Fault>,
    /// The failing answers since the last good one, of those that have any.
    failures: HashMap<SocketAddr, u32>,
}

#[derive(Debug)]
struct Fault {
    rest: Duration,
    until: Instant,
    cause: Cause,
}

/// Why a backend is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It did not take a connection.
    Connection,
    /// It answered [`FAILURES_MAX`] requests one after another with a failure.
    Answers,
}

impl Ejections {
    /// Remembers that a backend did not take a connection; `true` if it is left out from now on and was
    /// not before. While it is left out, further failures tell nothing new.
    pub fn failed(&mut self, backend: SocketAddr, now: Instant) -> bool {
        self.eject(backend, Cause::Connection, now)
    }

    /// Remembers what a backend answered: `well`, or with a failure of its own; `true` if it is left out from
    /// now on and was not before.
    pub fn answered(&mut self, backend: SocketAddr, well: bool, now: Instant) -> bool {
        if well {
            self.failures.remove(&backend);
            return false;
        }
        if self.failures.len() >= BACKENDS_MAX && !self.failures.contains_key(&backend) {
            // Most are of backends that are gone; those that still fail are found again.
            self.failures.clear();
        }
        let count = self.failures.entry(backend).or_default();
        *count += 1;
        if *count < FAILURES_MAX {
            return false;
        }
        *count = FAILURES_MAX - 1;
        self.eject(backend, Cause::Answers, now)
    }

    /// Whether a good answer of a backend is news.
    #[must_use]
    pub fn is_failing(&self, backend: SocketAddr) -> bool {
        self.failures.contains_key(&backend)
    }

    fn eject(&mut self, backend: SocketAddr, cause: Cause, now: Instant) -> bool {
        let rest = match self.faults.get_mut(&backend) {
            Some(fault) if fault.until > now => {
                // Whoever takes no connection is left out, however many fail.
                if cause == Cause::Connection {
                    fault.cause = cause;
                }
                return false;
            }
            Some(fault) if fault.until + SUSPECT > now => (fault.rest * 2).min(REST_MAX),
            Some(_) | None => REST_FIRST,
        };
        if self.faults.len() >= BACKENDS_MAX && !self.faults.contains_key(&backend) {
            self.faults.retain(|_, fault| fault.until + SUSPECT > now);
            if self.faults.len() >= BACKENDS_MAX {
                return false;
            }
        }
        self.faults.insert(backend, Fault { rest, until: now + rest, cause });
        true
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// How long a backend is still left out, and why.
    #[must_use]
    pub fn left(&self, backend: SocketAddr, now: Instant) -> Option<(Duration, Cause)> {
        let fault = self.faults.get(&backend)?;
        let left = fault.until.checked_duration_since(now).filter(|left| !left.is_zero());
        left.map(|left| (left, fault.cause))
    }

    /// The backends of a Service port that are left out now: none if that would leave it without any,
    /// since one that may fail is better than none. For what they answered, no more than half are.
    #[must_use]
    pub fn among(&self, port: &ServicePort, now: Instant) -> Vec<SocketAddr> {
        let is_of_port = |backend: &SocketAddr| port.backends.contains(backend);
        let resting = self.faults.iter().filter(|(at, fault)| fault.until > now && is_of_port(at));
        let (mut silent, mut failing) = (Vec::new(), Vec::new());
        for (backend, fault) in resting {
            match fault.cause {
                Cause::Connection => silent.push(*backend),
                Cause::Answers => failing.push(*backend),
            }
        }
        let all = port.backends.len();
        if failing.len() * 2 <= all && silent.len() + failing.len() < all {
            silent.append(&mut failing);
        }
        if silent.len() < all { silent } else { Vec::new() }
    }

    /// How many backends are left out now.
    #[must_use]
    pub fn count(&self, now: Instant) -> usize {
        self.faults.values().filter(|fault| fault.until > now).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ServiceKey;
    use crate::topology::TrafficPolicy;

    fn backend(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 128, 0, 1], number))
    }

    fn port(numbers: &[u16]) -> ServicePort {
        ServicePort {
            service: ServiceKey { namespace: "default".to_owned(), name: "web".to_owned() },
            name: String::new(),
            backends: numbers.iter().map(|number| backend(*number)).collect(),
            policy: TrafficPolicy::Cluster,
            affinity: None,
            on_demand: false,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "some point in time, from which all others are counted"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_backend_that_fails_rests_longer_each_time() {
        let (mut ejections, start) = (Ejections::default(), start());
        let mut now = start;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert!(ejections.failed(backend(1), now));
            assert!(!ejections.failed(backend(1), now), "what rests fails no further");
            let rest = Duration::from_secs(seconds);
            assert_eq!(ejections.left(backend(1), now), Some((rest, Cause::Connection)));
            assert_eq!(ejections.among(&port(&[1, 2]), now), [backend(1)]);
            now += rest;
            assert_eq!(ejections.left(backend(1), now), None);
            assert!(ejections.among(&port(&[1, 2]), now).is_empty());
        }
        // Long after, it is like any other.
        assert!(ejections.failed(backend(1), now + SUSPECT));
        let left = ejections.left(backend(1), now + SUSPECT);
        assert_eq!(left, Some((REST_FIRST, Cause::Connection)));
    }

    /// Fails so many requests one after another.
    fn fail(ejections: &mut Ejections, number: u16, times: u32, now: Instant) -> bool {
        (0..times).any(|_| ejections.answered(backend(number), false, now))
    }

    #[test]
    fn answers_that_fail_one_after_another_leave_a_backend_out() {
        let (mut ejections, start) = (Ejections::default(), start());
        assert!(!fail(&mut ejections, 1, FAILURES_MAX - 1, start));
        assert!(ejections.is_failing(backend(1)) && !ejections.is_failing(backend(2)));
        ejections.answered(backend(1), true, start);
        assert!(!ejections.is_failing(backend(1)));
        assert!(!fail(&mut ejections, 1, FAILURES_MAX - 1, start), "a good one in between");
        assert!(ejections.is_empty());
        assert!(fail(&mut ejections, 1, 1, start));
        assert_eq!(ejections.left(backend(1), start), Some((REST_FIRST, Cause::Answers)));
        assert_eq!(ejections.among(&port(&[1, 2]), start), [backend(1)]);
        // After its rest one more failure is enough, and it rests for longer.
        let later = start + REST_FIRST;
        assert!(ejections.among(&port(&[1, 2]), later).is_empty());
        assert!(fail(&mut ejections, 1, 1, later));
        assert_eq!(ejections.left(backend(1), later), Some((REST_FIRST * 2, Cause::Answers)));
        ejections.answered(backend(1), true, later);
        assert!(!fail(&mut ejections, 1, FAILURES_MAX - 1, later + REST_MAX));
    }

    #[test]
    fn what_most_backends_answer_leaves_none_of_them_out() {
        let (mut ejections, now) = (Ejections::default(), start());
        fail(&mut ejections, 1, FAILURES_MAX, now);
        assert!(ejections.among(&port(&[1]), now).is_empty(), "never the only one");
        fail(&mut ejections, 2, FAILURES_MAX, now);
        assert!(ejections.among(&port(&[1, 2]), now).is_empty());
        assert!(ejections.among(&port(&[1, 2, 3]), now).is_empty());
        assert_eq!(ejections.among(&port(&[1, 2, 3, 4]), now).len(), 2);
        // One that takes no connection is left out whatever the others answer.
        ejections.failed(backend(3), now);
        assert_eq!(ejections.among(&port(&[1, 2, 3]), now), [backend(3)]);
        ejections.failed(backend(1), now);
        assert_eq!(ejections.left(backend(1), now), Some((REST_FIRST, Cause::Connection)));
        assert_eq!(ejections.among(&port(&[1, 2, 3]), now).len(), 2);
    }

    #[test]
    fn the_last_backend_is_never_left_out() {
        let (mut ejections, now) = (Ejections::default(), start());
        ejections.failed(backend(1), now);
        assert!(ejections.among(&port(&[1]), now).is_empty());
        assert!(ejections.among(&port(&[2, 3]), now).is_empty(), "not one of its own");
        ejections.failed(backend(2), now);
        assert_eq!(ejections.count(now), 2);
        assert!(ejections.among(&port(&[1, 2]), now).is_empty());
        assert_eq!(ejections.among(&port(&[1, 2, 3]), now).len(), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut ejections, now) = (Ejections::default(), start());
        for number in 0..BACKENDS_MAX {
            let ip = u32::try_from(number).unwrap();
            ejections.failed((std::net::Ipv4Addr::from(ip), 80).into(), now);
        }
        assert!(!ejections.failed(backend(1), now));
        assert_eq!(ejections.count(now), BACKENDS_MAX);
        assert!(ejections.failed(backend(1), now + SUSPECT * 2), "the old ones are forgotten");
        assert_eq!(ejections.count(now + SUSPECT * 2), 1);
        for number in 0..BACKENDS_MAX {
            let ip = u32::try_from(number).unwrap();
            ejections.answered((std::net::Ipv4Addr::from(ip), 80).into(), false, now);
        }
        ejections.answered(backend(1), false, now);
        assert_eq!(ejections.failures.len(), 1);
    }
}
