//! NetworkPolicy: which connections the owners of pods let through.
//!
//! Comes in: NetworkPolicies, Namespaces and pods, one change at a time, in any order, and one
//! [`Attempt`] at a time. Goes out: a [`Verdict`]. Asked twice for each connection between pods:
//! for the way out where it is made, and for the way in where it arrives. Everything but `follow`
//! is pure.
//!
//! *Source:* networking.k8s.io/v1, "Network Policies". Where that leaves a choice: IP blocks hold for
//! pods' addresses too, a pod always reaches itself, and what the host itself sends (probes,
//! port-forward) is not asked about.

mod follow;
pub mod guard;
mod pod;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use coracle_vnet::Protocol;
use k8s_openapi::api::networking::v1::NetworkPolicy;

pub use follow::{FollowingPolicies, follow_policies};
pub use pod::{Face, PodFace};
use rule::{Policy, Rule, Subject};

/// The annotation of a NetworkPolicy that closes nothing yet: with the value `true`, what it would
/// refuse is let through, and told.
pub const DRY_RUN: &str = "coracle.dev/dry-run";

/// A connection that somebody wants to make, or the first datagram of a flow; after a Service's
/// address has become a backend's.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Where it comes from.
    pub source: IpAddr,
    /// The uid of the pod that it comes from, if that is proven.
    pub from: Option<&'a str>,
    /// Where it goes to.
    pub destination: SocketAddr,
    /// The uid of the pod that it goes to, if that is on this host.
    pub to: Option<&'a str>,
    /// Its transport.
    pub protocol: Protocol,
}

/// One of the two ways that policies are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Into a pod.
    Ingress,
    /// Out of a pod.
    Egress,
}

/// Which policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counting {
    /// All but those in dry run.
    Real,
    /// Those in dry run, too.
    All,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It may not.
    Denied(Denial),
}

/// Why a connection may not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Which way is closed.
    pub direction: Direction,
    /// The pod whose way it is, `namespace/name`.
    pub pod: String,
    /// The policies that select the pod, none of which has a rule for it: names in the pod's
    /// namespace.
    pub policies: Vec<String>,
    /// From where to where.
    pub what: String,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.direction {
            Direction::Ingress => "ingress to",
            Direction::Egress => "egress from",
        };
        write!(
            f,
            "NetworkPolicy {} isolates {way} pod {}, and no rule allows {}",
            self.policies.join(", "),
            self.pod,
            self.what
        )
    }
}

/// All that decisions are made from.
#[derive(Debug, Default)]
pub struct Policies {
    /// By namespace and name.
    policies: BTreeMap<String, BTreeMap<String, Policy>>,
    /// Labels by namespace.
    namespaces: HashMap<String, BTreeMap<String, String>>,
    /// Pods by namespace and name.
    pods: HashMap<(String, String), Arc<Face>>,
    by_uid: HashMap<String, Arc<Face>>,
    by_ip: HashMap<IpAddr, Arc<Face>>,
}

impl Policies {
    /// Puts in a policy's newest state.
    pub fn set_policy(&mut self, namespace: &str, name: &str, policy: &NetworkPolicy) {
        let of_namespace = self.policies.entry(namespace.to_owned()).or_default();
        of_namespace.insert(name.to_owned(), Policy::of(policy));
    }

    /// Takes a policy out.
    pub fn remove_policy(&mut self, namespace: &str, name: &str) {
        if let Some(of_namespace) = self.policies.get_mut(namespace) {
            of_namespace.remove(name);
            if of_namespace.is_empty() {
                self.policies.remove(namespace);
            }
        }
    }

    /// Sets the labels of a namespace; `None` when it is gone.
    pub fn set_namespace(&mut self, name: &str, labels: Option<BTreeMap<String, String>>) {
        match labels {
            Some(labels) => drop(self.namespaces.insert(name.to_owned(), labels)),
            None => drop(self.namespaces.remove(name)),
        }
    }

    /// Puts in a pod's newest state.
    pub fn set_pod(&mut self, face: Face) {
        self.remove_pod(&face.namespace, &face.name);
        let face = Arc::new(face);
        let key = (face.namespace.clone(), face.name.clone());
        self.by_uid.insert(face.uid.clone(), Arc::clone(&face));
        for ip in &face.ips {
            self.by_ip.insert(*ip, Arc::clone(&face));
        }
        self.pods.insert(key, face);
    }

    /// Takes a pod out.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) {
        let Some(face) = self.pods.remove(&(namespace.to_owned(), name.to_owned())) else { return };
        self.by_uid.remove(&face.uid);
        for ip in &face.ips {
            // The address may be another pod's by now.
            if self.by_ip.get(ip).is_some_and(|other| other.uid == face.uid) {
                self.by_ip.remove(ip);
            }
        }
    }

    /// Whether a pod of that uid runs on a node; `None` when the pod is not known.
    #[must_use]
    pub fn runs_on(&self, uid: &str, node: &str) -> Option<bool> {
        self.by_uid.get(uid).map(|face| face.node == node)
    }

    /// Whether any policy is there only to be tried.
    #[must_use]
    pub fn has_dry_runs(&self) -> bool {
        self.policies.values().flat_map(BTreeMap::values).any(|policy| policy.dry_run)
    }

    /// What would be refused if the policies in dry run counted; `None` for what is refused or let
    /// through either way.
    #[must_use]
    pub fn rehearse(&self, attempt: &Attempt<'_>, direction: Direction) -> Option<Denial> {
        match (
            self.decide(attempt, direction, Counting::Real),
            self.decide(attempt, direction, Counting::All),
        ) {
            (Verdict::Allowed, Verdict::Denied(denial)) => Some(denial),
            (Verdict::Allowed | Verdict::Denied(_), _) => None,
        }
    }

    /// Whether the pod that it comes from may make it.
    #[must_use]
    pub fn egress(&self, attempt: &Attempt<'_>) -> Verdict {
        self.decide(attempt, Direction::Egress, Counting::Real)
    }

    /// Whether the pod that it goes to may be reached by it.
    #[must_use]
    pub fn ingress(&self, attempt: &Attempt<'_>) -> Verdict {
        self.decide(attempt, Direction::Ingress, Counting::Real)
    }

    fn decide(&self, attempt: &Attempt<'_>, direction: Direction, counting: Counting) -> Verdict {
        if self.policies.is_empty() {
            return Verdict::Allowed;
        }
        let source = self.face(attempt.from, attempt.source);
        let target = self.face(attempt.to, attempt.destination.ip());
        let (own, other, other_ip) = match direction {
            Direction::Ingress => (target, source, attempt.source),
            Direction::Egress => (source, target, attempt.destination.ip()),
        };
        let Some(own) = own else { return Verdict::Allowed };
        if other.is_some_and(|other| other.uid == own.uid) {
            return Verdict::Allowed;
        }
        let labels = other.and_then(|other| self.namespaces.get(&other.namespace));
        let subject = Subject {
            pod: other.map(|face| &**face),
            namespace: labels,
            ip: other_ip,
            own_namespace: &own.namespace,
            target: target.map(|face| &**face),
            port: attempt.destination.port(),
            protocol: attempt.protocol,
        };
        self.judge(own, (direction, counting), &subject, attempt)
    }

    fn judge(
        &self,
        own: &Face,
        (direction, counting): (Direction, Counting),
        subject: &Subject<'_>,
        attempt: &Attempt<'_>,
    ) -> Verdict {
        let mut isolating = Vec::new();
        for (name, rules) in self.selecting(own, direction, counting) {
            if rules.iter().any(|rule| rule.allows(subject)) {
                return Verdict::Allowed;
            }
            isolating.push(name.clone());
        }
        if isolating.is_empty() {
            return Verdict::Allowed;
        }
        Verdict::Denied(Denial {
            direction,
            pod: own.to_string(),
            policies: isolating,
            what: self.spelled(attempt),
        })
    }

    /// The policies that select a pod for one way, each with its rules for it.
    fn selecting<'a>(
        &'a self,
        own: &'a Face,
        direction: Direction,
        counting: Counting,
    ) -> impl Iterator<Item = (&'a String, &'a [Rule])> {
        let of_namespace = self.policies.get(&own.namespace).into_iter().flatten();
        of_namespace.filter_map(move |(name, policy)| {
            let rules = policy.rules(direction)?;
            let counts = counting == Counting::All || !policy.dry_run;
            (counts && policy.selects(&own.labels)).then_some((name, rules))
        })
    }

    /// The names of the policies that select the pod whose way it is: without any the way is open.
    #[must_use]
    pub fn isolating(&self, attempt: &Attempt<'_>, direction: Direction) -> Vec<String> {
        let own = match direction {
            Direction::Ingress => self.face(attempt.to, attempt.destination.ip()),
            Direction::Egress => self.face(attempt.from, attempt.source),
        };
        let Some(own) = own else { return Vec::new() };
        self.selecting(own, direction, Counting::Real).map(|(name, _)| name.clone()).collect()
    }

    fn face(&self, uid: Option<&str>, ip: IpAddr) -> Option<&Arc<Face>> {
        uid.and_then(|uid| self.by_uid.get(uid)).or_else(|| self.by_ip.get(&ip))
    }

    /// From where to where, for people.
    fn spelled(&self, attempt: &Attempt<'_>) -> String {
        let named = |face: Option<&Arc<Face>>, ip: IpAddr| match face {
            Some(face) => format!("{face} ({ip})"),
            None => ip.to_string(),
        };
        let protocol = match attempt.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        let (source, to) = (attempt.source, attempt.destination);
        let from = named(self.face(attempt.from, source), source);
        let target = named(self.face(attempt.to, to.ip()), to.ip());
        format!("{from} to {target} on {protocol} port {}", to.port())
    }
}
