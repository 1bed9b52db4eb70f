//! All ways in, compiled: which rule takes a request. Pure.
//!
//! Comes in: the [`Listener`]s that `ingress` and `gateway` make of objects. Goes out: for a port and
//! a request's head one [`Rule`], and for a port and a name of TLS the Secrets with its certificate.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use super::filter::Filter;
use super::hostname::HostPattern;
use super::matching::Match;
use crate::cidr::Cidr;
use crate::table::ServiceKey;

/// Bytes of a request's body where the object does not say: what is larger is most likely not meant
/// for a web server, and a pod has other ways to take it. The body is never held, only counted.
pub const BODY_BYTES_MAX: u64 = 1 << 30;

/// Namespace and name of an object that a rule or a listener was made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Such as `Ingress`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A port of a Service that requests go to.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The Service.
    pub service: ServiceKey,
    /// The number of its port.
    pub port: u16,
    /// Whether it speaks HTTP/2 in the clear (`appProtocol: kubernetes.io/h2c`, or gRPC).
    pub http2: bool,
    /// Changes for requests that go here.
    pub filters: Vec<Filter>,
}

/// Where a part of a rule's requests goes.
#[derive(Debug, Clone)]
pub enum Target {
    /// To a Service.
    Service(Backend),
    /// Nowhere, as its reference leads to nothing: they are answered with this.
    Nothing(StatusCode),
}

/// How long a request may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the answer to the client begins; `None`: no limit of the route's.
    pub request: Option<Duration>,
    /// The same for each try at a backend.
    pub backend_request: Option<Duration>,
}

/// What happens to the requests that fit.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What the rule was made of.
    pub origin: Origin,
    /// Changes, in order.
    pub filters: Vec<Filter>,
    /// Where to, each with its share.
    pub targets: Vec<(u32, Target)>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Clients that may; `None` for all.
    pub clients: Option<Vec<Cidr>>,
    /// Bytes that a request's body may have.
    pub body_bytes_max: u64,
}

impl Rule {
    /// A rule that sends everything to `targets`.
    #[must_use]
    pub fn to(origin: Origin, targets: Vec<(u32, Target)>) -> Self {
        Self {
            origin,
            filters: Vec::new(),
            targets,
            timeouts: Timeouts::default(),
            clients: None,
            body_bytes_max: BODY_BYTES_MAX,
        }
    }

    /// Whether a client may ask.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        self.clients.as_ref().is_none_or(|all| all.iter().any(|range| range.contains(client)))
    }

    /// The target on which `random`, any number, falls; `None` if no target has a share.
    #[must_use]
    pub fn target(&self, random: u64) -> Option<&Target> {
        let total: u64 = self.targets.iter().map(|(share, _)| u64::from(*share)).sum();
        let mut at = random.checked_rem(total)?;
        self.targets.iter().find_map(|(share, target)| {
            let share = u64::from(*share);
            if at < share {
                return Some(target);
            }
            at -= share;
            None
        })
    }
}

/// One match of a rule, with what decides between equals.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The host names that it is for.
    pub host: HostPattern,
    /// What it asks.
    pub matching: Match,
    /// When its object was made, as text in RFC 3339: the oldest goes first.
    pub created: String,
    /// What it does.
    pub rule: Arc<Rule>,
}

impl Entry {
    fn first(&self, other: &Self) -> Ordering {
        self.host
            .closest_first(&other.host)
            .then_with(|| self.matching.first(&other.matching))
            .then_with(|| self.created.cmp(&other.created))
            .then_with(|| self.rule.origin.cmp(&other.rule.origin))
    }
}

/// How a listener takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS that ends here.
    Https,
    /// TLS that ends at the backend; the name in its greeting says which.
    Passthrough,
}

/// Namespace and name of a Secret with a certificate.
pub type SecretKey = (String, String);

/// One way in.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The port by which clients know it; a host may have to listen at another.
    pub port: u16,
    /// How it takes connections.
    pub protocol: Protocol,
    /// The names that it takes requests for.
    pub host: HostPattern,
    /// Whether a request for its names that none of its rules takes ends there, as Gateway API has
    /// it, and is not offered to listeners for less close names.
    pub ends: bool,
    /// Where its certificates are.
    pub certificates: Vec<SecretKey>,
    /// Its rules, in any order.
    pub entries: Vec<Entry>,
}

/// All ways in of the cluster.
#[derive(Debug, Default)]
pub struct Routes {
    ports: BTreeMap<u16, Vec<Listener>>,
}

/// The rule that takes a request.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The elements of the path that its prefix has matched.
    pub prefix: String,
}

impl Routes {
    /// Arranges listeners for look-ups.
    #[must_use]
    pub fn new(listeners: Vec<Listener>) -> Self {
        let mut ports: BTreeMap<u16, Vec<Listener>> = BTreeMap::new();
        for mut listener in listeners {
            listener.entries.sort_by(Entry::first);
            ports.entry(listener.port).or_default().push(listener);
        }
        for listeners in ports.values_mut() {
            listeners.sort_by(|a, b| a.host.closest_first(&b.host));
        }
        Self { ports }
    }

    /// The ports at which clients knock, and whether TLS is spoken there. Where listeners disagree,
    /// it is: HTTP in the clear is then not taken there.
    pub fn ports(&self) -> impl Iterator<Item = (u16, bool)> {
        let is_plain = |one: &Listener| one.protocol == Protocol::Http;
        self.ports.iter().map(move |(port, all)| (*port, !all.iter().all(is_plain)))
    }

    /// Every Secret in which a certificate is looked for.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<SecretKey> {
        let all = self.ports.values().flatten();
        all.flat_map(|listener| listener.certificates.iter().cloned()).collect()
    }

    /// The Secrets with certificates for a name at a port, the closest first.
    pub fn certificates<'a>(
        &'a self,
        port: u16,
        name: &'a str,
    ) -> impl Iterator<Item = &'a SecretKey> {
        let listeners = self.ports.get(&port).into_iter().flatten();
        listeners.filter(move |one| one.host.matches(name)).flat_map(|one| &one.certificates)
    }

    /// All Secrets with certificates at a port, those of the closest names first.
    pub fn all_certificates(&self, port: u16) -> impl Iterator<Item = &SecretKey> {
        let listeners = self.ports.get(&port).into_iter().flatten();
        listeners.flat_map(|listener| &listener.certificates)
    }

    /// The rule for a request that came in at `port`, by HTTP in the clear or over TLS, for `host`
    /// ([`super::hostname::host_of`]).
    #[must_use]
    pub fn find(&self, (port, by): (u16, Protocol), host: &str, request: &Parts) -> Option<Hit> {
        let mut ended: Option<&HostPattern> = None;
        let listeners = self.ports.get(&port)?.iter();
        for listener in listeners.filter(|one| one.protocol == by && one.host.matches(host)) {
            let shadowed =
                ended.is_some_and(|at| at.closest_first(&listener.host) == Ordering::Less);
            if listener.ends && shadowed {
                continue;
            }
            let mut entries = listener.entries.iter().filter(|entry| entry.host.matches(host));
            if let Some(entry) = entries.find(|entry| entry.matching.matches(request)) {
                let prefix = entry.matching.matched_prefix().to_owned();
                return Some(Hit { rule: Arc::clone(&entry.rule), prefix });
            }
            if listener.ends && ended.is_none() {
                ended = Some(&listener.host);
            }
        }
        None
    }

    /// Whether TLS is passed through at a port for some name.
    #[must_use]
    pub fn passes_through(&self, port: u16) -> bool {
        let mut listeners = self.ports.get(&port).into_iter().flatten();
        listeners.any(|listener| listener.protocol == Protocol::Passthrough)
    }

    /// The rule for a TLS connection that is passed through at `port`, by the name in its greeting;
    /// `None` as well where TLS ends here for that name.
    #[must_use]
    pub fn passed_through(&self, port: u16, name: &str) -> Option<&Arc<Rule>> {
        let listener = self.ports.get(&port)?.iter().find(|one| one.host.matches(name))?;
        if listener.protocol != Protocol::Passthrough {
            return None;
        }
        let entry = listener.entries.iter().find(|entry| entry.host.matches(name))?;
        Some(&entry.rule)
    }
}
