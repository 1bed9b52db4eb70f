//! Backends that did not take connections lately and are left out for a while: found out by use, before
//! the API says that they are not ready. Pure.
//!
//! *Source:* the outlier ejection of Envoy, for failures to connect alone: what a backend answers is its
//! application's affair, and no reason to send clients elsewhere.

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

/// Backends that are remembered; one more is not, and is tried and passed over as long as it fails.
pub const BACKENDS_MAX: usize = 4096;

/// What is remembered of backends that failed.
#[derive(Debug, Default)]
pub struct Ejections {
    faults: HashMap<SocketAddr, Fault>,
}

#[derive(Debug)]
struct Fault {
    rest: Duration,
    until: Instant,
}

impl Ejections {
    /// Remembers that a backend did not take a connection; `true` if it is left out from now on and was
    /// not before. While it is left out, further failures tell nothing new.
    pub fn failed(&mut self, backend: SocketAddr, now: Instant) -> bool {
        let rest = match self.faults.get(&backend) {
            Some(fault) if fault.until > now => return false,
            Some(fault) if fault.until + SUSPECT > now => (fault.rest * 2).min(REST_MAX),
            Some(_) | None => REST_FIRST,
        };
        if self.faults.len() >= BACKENDS_MAX && !self.faults.contains_key(&backend) {
            self.faults.retain(|_, fault| fault.until + SUSPECT > now);
            if self.faults.len() >= BACKENDS_MAX {
                return false;
            }
        }
        self.faults.insert(backend, Fault { rest, until: now + rest });
        true
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// How long a backend is still left out.
    #[must_use]
    pub fn left(&self, backend: SocketAddr, now: Instant) -> Option<Duration> {
        let fault = self.faults.get(&backend)?;
        fault.until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// The backends of a Service port that are left out now: none if that would leave it without any,
    /// since one that may fail is better than none.
    #[must_use]
    pub fn among(&self, port: &ServicePort, now: Instant) -> Vec<SocketAddr> {
        let is_of_port = |backend: &&SocketAddr| port.backends.binary_search(backend).is_ok();
        let out: Vec<SocketAddr> = self
            .faults
            .iter()
            .filter(|(_, fault)| fault.until > now)
            .map(|(backend, _)| backend)
            .filter(is_of_port)
            .copied()
            .collect();
        if out.len() < port.backends.len() { out } else { Vec::new() }
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
            assert_eq!(ejections.left(backend(1), now), Some(rest));
            assert_eq!(ejections.among(&port(&[1, 2]), now), [backend(1)]);
            now += rest;
            assert_eq!(ejections.left(backend(1), now), None);
            assert!(ejections.among(&port(&[1, 2]), now).is_empty());
        }
        // Long after, it is like any other.
        assert!(ejections.failed(backend(1), now + SUSPECT));
        assert_eq!(ejections.left(backend(1), now + SUSPECT), Some(REST_FIRST));
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
    }
}
