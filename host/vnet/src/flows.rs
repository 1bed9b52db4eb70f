//! Where the datagrams of one UDP socket went, so that a flow keeps its way and answers come back
//! from the address that was asked.

use crate::udp::DatagramSink;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A flow that was silent for so long is routed anew. *Source:* Linux conntrack's
/// `nf_conntrack_udp_timeout`.
pub(crate) const FLOW_IDLE_MAX: Duration = Duration::from_secs(30);

/// Most flows that a socket remembers; the one silent for longest is forgotten.
const FLOWS_MAX: usize = 1024;

/// Where a flow leads.
#[derive(Clone)]
pub(crate) enum Target {
    /// To an address on the fabric.
    Pod(SocketAddr),
    /// Out of it.
    Sink(Arc<dyn DatagramSink>),
}

/// What is known of a flow.
pub(crate) enum Known {
    /// Nothing changed since it was decided.
    Current(Target),
    /// Something did; it led to this address.
    Outdated(SocketAddr),
}

struct Entry {
    target: Target,
    /// Where the router led it; `None` for answers to a sender.
    led_to: Option<SocketAddr>,
    used: Instant,
    /// When it was decided; `None` for answers to a sender, which need no decision.
    epoch: Option<u64>,
}

/// The flows of one socket by the address that the guest knows.
#[derive(Default)]
pub(crate) struct Flows {
    entries: HashMap<SocketAddr, Entry>,
    /// Backend to the address that the guest asked for.
    asked: HashMap<SocketAddr, SocketAddr>,
}

impl Flows {
    /// What is known of the flow to `destination`, unless it was silent for too long.
    pub(crate) fn find(
        &mut self,
        destination: SocketAddr,
        now: Instant,
        epoch: u64,
    ) -> Option<Known> {
        let entry = self.entries.get_mut(&destination)?;
        let idle = now.saturating_duration_since(entry.used);
        if idle >= FLOW_IDLE_MAX {
            self.forget(destination);
            return None;
        }
        match entry.led_to {
            Some(address) if entry.epoch != Some(epoch) => Some(Known::Outdated(address)),
            Some(_) | None => {
                entry.used = now;
                Some(Known::Current(entry.target.clone()))
            }
        }
    }

    /// The flow to `destination` stays where it leads, as of `epoch`.
    pub(crate) fn stay(
        &mut self,
        destination: SocketAddr,
        now: Instant,
        epoch: u64,
    ) -> Option<Target> {
        let entry = self.entries.get_mut(&destination)?;
        (entry.used, entry.epoch) = (now, Some(epoch));
        Some(entry.target.clone())
    }

    /// Remembers the router's decision.
    pub(crate) fn decide(
        &mut self,
        destination: SocketAddr,
        (target, led_to): (Target, SocketAddr),
        now: Instant,
        epoch: u64,
    ) {
        if let Target::Pod(backend) = &target {
            if *backend == destination {
                self.asked.remove(backend);
            } else {
                self.asked.insert(*backend, destination);
            }
        }
        let led_to = Some(led_to);
        self.insert(destination, Entry { target, led_to, used: now, epoch: Some(epoch) });
    }

    /// A datagram came from `source`: gives the address that the guest knows it by, and keeps the
    /// way back open.
    pub(crate) fn answer(
        &mut self,
        source: SocketAddr,
        reply: Option<Arc<dyn DatagramSink>>,
        now: Instant,
    ) -> SocketAddr {
        if let Some(asked) = self.asked.get(&source).copied() {
            if let Some(entry) = self.entries.get_mut(&asked) {
                entry.used = now;
            }
            return asked;
        }
        match (self.entries.get_mut(&source), reply) {
            (Some(entry), None) => entry.used = now,
            (_, reply) => {
                let target = reply.map_or(Target::Pod(source), Target::Sink);
                self.insert(source, Entry { target, led_to: None, used: now, epoch: None });
            }
        }
        source
    }

    /// Forgets the flow to `destination`.
    pub(crate) fn forget(&mut self, destination: SocketAddr) {
        if let Some(Entry { target: Target::Pod(backend), .. }) = self.entries.remove(&destination)
            && self.asked.get(&backend) == Some(&destination)
        {
            self.asked.remove(&backend);
        }
    }

    fn insert(&mut self, destination: SocketAddr, entry: Entry) {
        if self.entries.len() >= FLOWS_MAX && !self.entries.contains_key(&destination) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.forget(oldest);
            }
        }
        self.entries.insert(destination, entry);
    }
}
