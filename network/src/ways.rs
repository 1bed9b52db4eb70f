//! The ways into a Service: each leads to the endpoints of a port that a traffic policy lets it, kept up endpoint by
//! endpoint. Pure.
//!
//! Comes in: endpoints that were and endpoints that are. Goes out: [`Backends`], the same as [`Place::usable`] would
//! choose among all of them, at a cost that does not depend on how many there are.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use coracle_vnet::Protocol;

use crate::backends::Backends;
use crate::endpoints::Endpoint;
use crate::topology::{Place, TrafficPolicy};

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub(crate) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Which of a Service's endpoints count for a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// How far connections may go.
    pub(crate) policy: TrafficPolicy,
    /// Only those of this family; `None` for all.
    pub(crate) family: Option<Family>,
    /// The transport of the port.
    pub(crate) protocol: Protocol,
}

/// A way into a Service.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    kind: Kind,
    /// Those that are ready.
    ready: Counted,
    /// Those that serve while they end.
    ending: Counted,
    /// The ready ones that hints give to this node.
    of_node: Counted,
    /// The ready ones that hints give to this zone.
    of_zone: Counted,
    /// How many endpoints are ready, and how many of them have hints for nodes and for zones.
    readies: usize,
    with_nodes: usize,
    with_zones: usize,
}

/// Addresses, each with how many endpoints have it: slices may say one twice for a while.
#[derive(Debug, Clone, Default)]
struct Counted {
    list: Backends,
    /// How many have it besides the first, if there are any.
    more: BTreeMap<SocketAddr, usize>,
}

/// How many more, or fewer, endpoints have an address.
type Changes = Vec<(SocketAddr, isize)>;

/// What changes in the lists of a way.
#[derive(Default)]
struct News {
    ready: Changes,
    ending: Changes,
    of_node: Changes,
    of_zone: Changes,
}

impl Way {
    /// One that leads nowhere yet.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            ready: Counted::default(),
            ending: Counted::default(),
            of_node: Counted::default(),
            of_zone: Counted::default(),
            readies: 0,
            with_nodes: 0,
            with_zones: 0,
        }
    }

    /// Whether an endpoint counts here, and its address with the port of this name.
    fn at(&self, place: &Place, endpoint: &Endpoint, name: &str) -> Option<SocketAddr> {
        let kind = &self.kind;
        let is_near = kind.policy == TrafficPolicy::Cluster || place.has(endpoint);
        let fits = kind.family.is_none_or(|family| family == Family::of(endpoint.ip));
        let number = endpoint.port(name, kind.protocol).filter(|_| is_near && fits)?;
        Some((endpoint.ip, number).into())
    }

    /// Takes endpoints out and others in, which all belong to the port of this name.
    pub(crate) fn change<'a>(
        &mut self,
        (place, name): (&Place, &str),
        gone: impl IntoIterator<Item = &'a Endpoint>,
        come: impl IntoIterator<Item = &'a Endpoint>,
    ) {
        let gone = gone.into_iter().map(|endpoint| (endpoint, -1));
        let come = come.into_iter().map(|endpoint| (endpoint, 1));
        let mut news = News::default();
        for (endpoint, by) in gone.chain(come) {
            if let Some(address) = self.at(place, endpoint, name) {
                self.count(place, endpoint, (address, by), &mut news);
            }
        }
        self.ready.change(news.ready);
        self.ending.change(news.ending);
        self.of_node.change(news.of_node);
        self.of_zone.change(news.of_zone);
    }

    fn count(
        &mut self,
        place: &Place,
        endpoint: &Endpoint,
        (address, by): (SocketAddr, isize),
        news: &mut News,
    ) {
        if !endpoint.ready {
            if endpoint.serving && endpoint.terminating {
                news.ending.push((address, by));
            }
            return;
        }
        self.readies = self.readies.saturating_add_signed(by);
        news.ready.push((address, by));
        if !endpoint.for_nodes().is_empty() {
            self.with_nodes = self.with_nodes.saturating_add_signed(by);
        }
        if !endpoint.for_zones().is_empty() {
            self.with_zones = self.with_zones.saturating_add_signed(by);
        }
        if place.is_hinted_node(endpoint) {
            news.of_node.push((address, by));
        }
        if place.is_hinted_zone(endpoint) {
            news.of_zone.push((address, by));
        }
    }

    /// Where it leads now: as [`Place::usable`] says.
    pub(crate) fn backends(&self) -> &Backends {
        if self.readies == 0 {
            return &self.ending.list;
        }
        let by_hints = self.kind.policy == TrafficPolicy::Cluster;
        if by_hints && self.with_nodes == self.readies && !self.of_node.list.is_empty() {
            return &self.of_node.list;
        }
        if by_hints && self.with_zones == self.readies && !self.of_zone.list.is_empty() {
            return &self.of_zone.list;
        }
        &self.ready.list
    }
}

impl Counted {
    fn change(&mut self, mut changes: Changes) {
        changes.sort_unstable();
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for of_one in changes.chunk_by(|(one, _), (other, _)| one == other) {
            let by: isize = of_one.iter().map(|(_, by)| by).sum();
            let Some((address, _)) = of_one.first().filter(|_| by != 0) else { continue };
            let more = self.more.remove(address).unwrap_or(0);
            let before = if self.list.contains(address) { more + 1 } else { 0 };
            let after = before.saturating_add_signed(by);
            match (before, after) {
                (0, 1..) => come.push(*address),
                (1.., 0) => gone.push(*address),
                (_, _) => {}
            }
            if after > 1 {
                self.more.insert(*address, after - 1);
            }
        }
        if !gone.is_empty() || !come.is_empty() {
            self.list = self.list.edited(&gone, &come);
        }
    }
}
