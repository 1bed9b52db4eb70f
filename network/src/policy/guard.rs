//! Where policies meet connections: on the way out, and on the way in. Pure but for its locks.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use coracle_vnet::{Fabric, Flow, NsTag, Protocol, Route};
use parking_lot::RwLock;

use super::{Attempt, Direction, Policies, Verdict};
use crate::counts::{Count, Counts};

/// What is said while the policies of the cluster are not known.
const UNKNOWN: &str = "the cluster's network policies are not known yet: the server has not been reached since this \
                       host began";

/// The policies of the cluster, asked for each connection. One that nobody told of policies lets
/// everything through.
#[derive(Debug, Default)]
pub struct Guard {
    policies: RwLock<Policies>,
    unknown: AtomicBool,
    fabric: OnceLock<Weak<Fabric>>,
    /// What was not let through, of policies and of all else.
    pub(crate) counts: Counts,
}

/// What policies say of one way of a connection.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// Which way.
    pub(crate) direction: Direction,
    /// The policies that select the pod whose way it is; without any it is open.
    pub(crate) policies: Vec<String>,
    /// What they say together.
    pub(crate) verdict: Verdict,
}

/// Who stands behind a connection that arrives.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Where it comes from.
    pub source: IpAddr,
    /// The uid of the pod that it says it comes from.
    pub from: Option<&'a str>,
    /// The node whose certificate it came with; `None` when it came in at this host.
    pub peer: Option<&'a str>,
    /// The pod's address and port that it goes to.
    pub destination: SocketAddr,
    /// Its transport.
    pub protocol: Protocol,
}

impl Guard {
    /// From now on policies count. `known`: what is there already is what was known last.
    pub(crate) fn follow(&self, fabric: &Arc<Fabric>, known: bool) {
        self.unknown.store(!known, Ordering::Release);
        if self.fabric.set(Arc::downgrade(fabric)).is_err() {
            tracing::debug!("policies know the fabric already");
        }
    }

    /// What is there is the whole truth.
    pub(super) fn set_known(&self) {
        self.unknown.store(false, Ordering::Release);
    }

    /// Changes the policies.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Policies)) {
        change(&mut self.policies.write());
    }

    /// The route that a pod's flow may take: `route`, or a refusal that says which policy stands in
    /// the way. The way in is looked at here for pods of this host, and on arrival for others.
    pub(crate) fn limit(&self, flow: &Flow, route: Route) -> Route {
        let (destination, is_pod) = match &route {
            Route::Pod(address) => (*address, true),
            Route::Real(address) => (*address, false),
            Route::Refused(_) => return route,
        };
        let Some(from) = &flow.from else { return route };
        if self.unknown.load(Ordering::Acquire) {
            return Route::Refused(UNKNOWN.to_owned());
        }
        let to = if is_pod { self.local(destination.ip()) } else { None };
        let attempt = Attempt {
            source: flow.source.ip(),
            from: Some(from.id()),
            destination,
            to: to.as_ref().map(NsTag::id),
            protocol: flow.protocol,
        };
        let policies = self.policies.read();
        let out = policies.egress(&attempt);
        let verdict = match out {
            Verdict::Allowed if to.is_some() => policies.ingress(&attempt),
            Verdict::Allowed | Verdict::Denied(_) => out,
        };
        match verdict {
            Verdict::Allowed => route,
            Verdict::Denied(denial) => {
                self.counts.add(Count::Policy(denial.direction));
                Route::Refused(denial.to_string())
            }
        }
    }

    /// What the policies say of both ways of a flow to this address, the way out first. Asked about
    /// the way in, too, where another host decides about it, which has the same policies.
    ///
    /// # Errors
    /// The policies are not known.
    pub(crate) fn judge(
        &self,
        flow: &Flow,
        destination: SocketAddr,
    ) -> Result<[Judgement; 2], &'static str> {
        if self.unknown.load(Ordering::Acquire) {
            return Err(UNKNOWN);
        }
        let to = self.local(destination.ip());
        let attempt = Attempt {
            source: flow.source.ip(),
            from: flow.from.as_ref().map(NsTag::id),
            destination,
            to: to.as_ref().map(NsTag::id),
            protocol: flow.protocol,
        };
        let policies = self.policies.read();
        Ok([Direction::Egress, Direction::Ingress].map(|direction| Judgement {
            direction,
            policies: policies.isolating(&attempt, direction),
            verdict: match direction {
                Direction::Egress => policies.egress(&attempt),
                Direction::Ingress => policies.ingress(&attempt),
            },
        }))
    }

    /// What policies in dry run would refuse of a flow that is let through on this route.
    pub(crate) fn rehearse(&self, flow: &Flow, route: &Route) -> Option<String> {
        let from = flow.from.as_ref().filter(|_| self.policies.read().has_dry_runs())?;
        let (destination, to) = match route {
            Route::Pod(address) => (*address, self.local(address.ip())),
            Route::Real(address) => (*address, None),
            Route::Refused(_) => return None,
        };
        let attempt = Attempt {
            source: flow.source.ip(),
            from: Some(from.id()),
            destination,
            to: to.as_ref().map(NsTag::id),
            protocol: flow.protocol,
        };
        let policies = self.policies.read();
        let inward = || policies.rehearse(&attempt, Direction::Ingress).filter(|_| to.is_some());
        let denial = policies.rehearse(&attempt, Direction::Egress).or_else(inward)?;
        self.counts.add(Count::Rehearsed);
        Some(format!("dry run: {denial}"))
    }

    /// As [`Guard::rehearse`], for a connection that arrives; with the pod that it goes to.
    pub(crate) fn rehearse_arrival(&self, arrival: &Arrival<'_>) -> Option<(NsTag, String)> {
        if !self.policies.read().has_dry_runs() {
            return None;
        }
        let to = self.local(arrival.destination.ip())?;
        let attempt = Attempt {
            source: arrival.source,
            from: arrival.from,
            destination: arrival.destination,
            to: Some(to.id()),
            protocol: arrival.protocol,
        };
        let denial = self.policies.read().rehearse(&attempt, Direction::Ingress)?;
        self.counts.add(Count::Rehearsed);
        Some((to, format!("dry run: {denial}")))
    }

    /// Whether a connection may reach a pod of this host.
    ///
    /// # Errors
    /// Why not, and the pod if it is known.
    pub(crate) fn admit(&self, arrival: &Arrival<'_>) -> Result<(), (Option<NsTag>, String)> {
        let to = self.local(arrival.destination.ip());
        if self.unknown.load(Ordering::Acquire) {
            return Err((to, UNKNOWN.to_owned()));
        }
        let policies = self.policies.read();
        // A uid that is new here is not believed; the address, which the peer owns, is.
        let runs_there = |uid: &&str| arrival.peer.and_then(|peer| policies.runs_on(uid, peer));
        let from = arrival.from.filter(|uid| runs_there(uid).is_some());
        if let Some(uid) = from.filter(|uid| runs_there(uid) == Some(false)) {
            return Err((to, format!("the pod with the uid {uid} does not run on that node")));
        }
        let attempt = Attempt {
            source: arrival.source,
            from,
            destination: arrival.destination,
            to: to.as_ref().map(NsTag::id),
            protocol: arrival.protocol,
        };
        match policies.ingress(&attempt) {
            Verdict::Allowed => Ok(()),
            Verdict::Denied(denial) => {
                drop(policies);
                self.counts.add(Count::Policy(denial.direction));
                Err((to, denial.to_string()))
            }
        }
    }

    /// The fabric of this host, once policies count.
    pub(crate) fn fabric(&self) -> Option<Arc<Fabric>> {
        self.fabric.get()?.upgrade()
    }

    /// The pod of this host that has the address.
    fn local(&self, ip: IpAddr) -> Option<NsTag> {
        Some(self.fabric.get()?.upgrade()?.get(ip)?.tag().clone())
    }
}
