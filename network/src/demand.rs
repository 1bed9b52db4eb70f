//! Services whose pods run only while they are used: who used one when, and who waits for it.
//!
//! A Service with the annotation [`IDLE`](coracle_api::ondemand::IDLE) may have no backend because nobody used it. A
//! connection to it is then held, the API is told by the Service's condition
//! [`IN_USE`](coracle_api::ondemand::IN_USE), the controller starts a pod, and the connection goes on as soon as there
//! is a backend.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use crate::table::ServiceKey;

/// Connections that are held at once on this host; one more is refused, as without holding.
pub const HELD_MAX: usize = 4_096;

/// How long a connection is held until it is refused after all: as long as clients commonly wait.
pub const HOLD_MAX: Duration = Duration::from_secs(60);

/// Least time between two reports of one Service that goes on being used. Idle times are whole
/// seconds.
pub const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Least time between two reports of one Service that somebody waits for.
const WANT_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    used: Option<Instant>,
    told: Option<Instant>,
    wanted: bool,
}

/// The use of Services on demand, on this host.
#[derive(Debug)]
pub struct Demand {
    services: parking_lot::Mutex<HashMap<ServiceKey, Usage>>,
    wanted: Notify,
    held: Semaphore,
    changed: watch::Sender<u64>,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            services: parking_lot::Mutex::default(),
            wanted: Notify::new(),
            held: Semaphore::new(HELD_MAX),
            changed: watch::Sender::new(0),
        }
    }
}

impl Demand {
    /// Takes that a connection went to a backend of a Service.
    pub fn used(&self, service: &ServiceKey, now: Instant) {
        let mut services = self.services.lock();
        let usage = services.entry(service.clone()).or_default();
        if !is_news(usage) {
            self.wanted.notify_one();
        }
        usage.used = Some(now);
    }

    /// Takes that somebody waits for a Service without backends.
    pub fn want(&self, service: &ServiceKey, now: Instant) {
        let mut services = self.services.lock();
        let usage = services.entry(service.clone()).or_default();
        (usage.used, usage.wanted) = (Some(now), true);
        self.wanted.notify_one();
    }

    /// Takes that backends came or went: whoever waits looks again.
    pub fn backends_changed(&self) {
        self.changed.send_modify(|generation| *generation += 1);
    }

    /// Gives what changes with every [`Demand::backends_changed`].
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes one of the places for held connections; `None` if all are taken.
    pub fn hold(&self) -> Option<SemaphorePermit<'_>> {
        self.held.try_acquire().ok()
    }

    /// Gives the Services that the API has to be told of now, and counts them as told.
    pub fn to_tell(&self, now: Instant) -> Vec<ServiceKey> {
        let mut services = self.services.lock();
        services.retain(|_, usage| is_news(usage) || usage.told.is_some_and(|t| !over(t, now)));
        let due = services.iter_mut().filter(|(_, usage)| {
            let pause = if usage.wanted { WANT_EVERY } else { REPORT_EVERY };
            is_news(usage) && usage.told.is_none_or(|told| now.duration_since(told) >= pause)
        });
        due.map(|(key, usage)| {
            (usage.told, usage.wanted) = (Some(now), false);
            key.clone()
        })
        .collect()
    }

    /// Tells whether anything is left to tell later.
    pub fn is_quiet(&self) -> bool {
        !self.services.lock().values().any(is_news)
    }

    /// Waits until there is something to tell that there was not before.
    pub async fn news(&self) {
        self.wanted.notified().await;
    }
}

fn is_news(usage: &Usage) -> bool {
    usage.wanted || usage.used.is_some() && usage.used > usage.told
}

/// A Service that was told of this long ago and not used since need not be remembered.
fn over(told: Instant, now: Instant) -> bool {
    now.duration_since(told) > REPORT_EVERY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey { namespace: "default".to_owned(), name: name.to_owned() }
    }

    #[expect(clippy::disallowed_methods, reason = "any moment to count from")]
    fn some_moment() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_first_use_is_told_at_once_and_further_ones_now_and_then() {
        let (demand, start) = (Demand::default(), some_moment());
        let at = |millis: u64| start + Duration::from_millis(millis);
        demand.used(&key("a"), at(0));
        assert_eq!(demand.to_tell(at(0)), [key("a")]);
        assert!(demand.is_quiet());
        demand.used(&key("a"), at(100));
        assert_eq!(demand.to_tell(at(200)), []);
        assert!(!demand.is_quiet());
        assert_eq!(demand.to_tell(at(1_000)), [key("a")]);
        assert_eq!(demand.to_tell(at(9_000)), []);
    }

    #[test]
    fn a_wish_is_told_again_until_somebody_came() {
        let (demand, start) = (Demand::default(), some_moment());
        let at = |millis: u64| start + Duration::from_millis(millis);
        demand.want(&key("a"), at(0));
        assert_eq!(demand.to_tell(at(0)), [key("a")]);
        demand.want(&key("a"), at(10));
        assert_eq!(demand.to_tell(at(20)), []);
        assert_eq!(demand.to_tell(at(500)), [key("a")]);
    }

    #[test]
    fn held_connections_are_bounded() {
        let demand = Demand::default();
        let held: Vec<_> = (0..HELD_MAX).filter_map(|_| demand.hold()).collect();
        assert_eq!(held.len(), HELD_MAX);
        assert!(demand.hold().is_none());
        drop(held);
        assert!(demand.hold().is_some());
    }
}
