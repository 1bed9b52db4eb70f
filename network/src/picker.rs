//! Which backend of several takes a new connection.
//!
//! Comes in: a [`ServicePort`], the client's address, the time and a random number. Goes out: one
//! backend. Keeps who was served by whom for Services with `sessionAffinity: ClientIP`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::backends::Backends;
use crate::table::{ServiceKey, ServicePort};

/// Clients that are remembered at once over all Services; beyond it the ones that have expired
/// are dropped, and if none has, the new client is served but not remembered.
pub const CLIENTS_MAX: usize = 65_536;

/// Remembers clients of Services with session affinity.
#[derive(Debug, Default)]
pub struct Picker {
    sticky: HashMap<(ServiceKey, String, IpAddr), Sticky>,
}

#[derive(Debug)]
struct Sticky {
    backend: SocketAddr,
    expires: Instant,
}

impl Picker {
    /// Picks a backend: the remembered one if the Service keeps its clients and that backend is
    /// still there, else the one that `random` (any value) falls on. `None` if there is no backend.
    pub fn pick(
        &mut self,
        port: &ServicePort,
        client: IpAddr,
        now: Instant,
        random: u64,
    ) -> Option<SocketAddr> {
        let fresh = choose(&port.backends, random)?;
        let Some(timeout) = port.affinity else {
            return Some(fresh);
        };
        let key = (port.service.clone(), port.name.clone(), client);
        let kept = self
            .sticky
            .get(&key)
            .filter(|sticky| sticky.expires > now && port.backends.contains(&sticky.backend))
            .map(|sticky| sticky.backend);
        let backend = kept.unwrap_or(fresh);
        self.remember(key, backend, now, timeout);
        Some(backend)
    }

    fn remember(
        &mut self,
        key: (ServiceKey, String, IpAddr),
        backend: SocketAddr,
        now: Instant,
        timeout: Duration,
    ) {
        if self.sticky.len() >= CLIENTS_MAX && !self.sticky.contains_key(&key) {
            self.sticky.retain(|_, sticky| sticky.expires > now);
            if self.sticky.len() >= CLIENTS_MAX {
                return;
            }
        }
        self.sticky.insert(key, Sticky { backend, expires: now + timeout });
    }
}

/// The backend on which `random` falls; every one is as likely as the others.
fn choose(backends: &Backends, random: u64) -> Option<SocketAddr> {
    let count = backends.len() as u128;
    // Multiply and shift: no division and no bias worth speaking of for 64 random bits.
    let index = ((u128::from(random) * count) >> 64) as usize;
    backends.get(index)
}
