//! What the cluster's own names mean, record by record. Pure, and without a wire format.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coracle_vnet::Protocol;

use crate::endpoints::Endpoint;
use crate::names::CLUSTER_DOMAIN;
use crate::table::{ServiceKey, Table};

/// ExternalName Services that point at each other are followed this far.
const ALIASES_MAX: usize = 8;
/// The version of the specification that is followed, told at `dns-version.cluster.local`.
const VERSION: &str = "1.1.0";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Another name for it.
    Cname,
    /// Ports and the names behind them.
    Srv,
    /// The name of an address.
    Ptr,
    /// A text.
    Txt,
    /// Anything that this zone has none of.
    Other,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// Look this name up instead.
    Alias(String),
    /// A port at a name; all have the same priority.
    Port {
        /// The share of clients, the same for each.
        weight: u16,
        /// The port.
        port: u16,
        /// The name whose addresses have it.
        target: String,
    },
    /// The name of an address.
    Name(String),
    /// A text.
    Text(String),
}

/// One record: names are lower case, absolute, without the final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// What it is about.
    pub name: String,
    /// What it says.
    pub data: Data,
}

/// The zone's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Records, and further ones that save a question. An alias may come before the records of what
    /// it stands for; `beyond` is where the last alias leads when that is outside of the cluster.
    Records {
        /// The answer.
        answers: Vec<Record>,
        /// Addresses of the names in it.
        extra: Vec<Record>,
        /// The name outside that the answer ends in.
        beyond: Option<String>,
    },
    /// The name exists and has no such record.
    NoData,
    /// The name does not exist.
    NoName,
    /// The name is none of the cluster's.
    Outside,
}

impl Found {
    fn of(answers: Vec<Record>) -> Self {
        if answers.is_empty() {
            Self::NoData
        } else {
            Self::Records { answers, extra: Vec::new(), beyond: None }
        }
    }
}

/// Answers a question. `name`: as asked, with or without the final dot; `is_ours`: whether an address
/// is of the cluster's own ranges.
#[must_use]
pub fn look_up(table: &Table, name: &str, kind: Kind, is_ours: impl Fn(IpAddr) -> bool) -> Found {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if let Some(ip) = reversed(&name) {
        return reverse(table, &name, ip, kind, is_ours(ip));
    }
    let mut answers = Vec::new();
    let mut asked = name;
    for _ in 0..ALIASES_MAX {
        let Some(labels) = labels(&asked) else {
            // The first question is not ours; a later one is where an alias led.
            return if answers.is_empty() {
                Found::Outside
            } else {
                Found::Records { answers, extra: Vec::new(), beyond: Some(asked) }
            };
        };
        match own(table, &asked, &labels, kind) {
            Step::Done(found) if answers.is_empty() => return found,
            Step::Done(Found::Records { answers: more, extra, beyond }) => {
                answers.extend(more);
                return Found::Records { answers, extra, beyond };
            }
            Step::Done(Found::NoData | Found::NoName | Found::Outside) => {
                return Found::Records { answers, extra: Vec::new(), beyond: None };
            }
            Step::Alias(target) => {
                let data = Data::Alias(target.clone());
                answers.push(Record { name: asked, data });
                if kind == Kind::Cname {
                    return Found::of(answers);
                }
                asked = target;
            }
        }
    }
    // Aliases in a circle: the part of it that was walked is the truth.
    Found::Records { answers, extra: Vec::new(), beyond: None }
}

enum Step {
    Done(Found),
    Alias(String),
}

/// The labels before the cluster's domain; `None` for a name outside of it.
fn labels(name: &str) -> Option<Vec<&str>> {
    let rest = name.strip_suffix(CLUSTER_DOMAIN)?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    Some(rest.strip_suffix('.')?.split('.').collect())
}

fn own(table: &Table, asked: &str, labels: &[&str], kind: Kind) -> Step {
    let found = match labels {
        [] | ["svc" | "pod"] => Found::NoData,
        ["dns-version"] => match kind {
            Kind::Txt => Found::of(vec![record(asked, Data::Text(VERSION.to_owned()))]),
            Kind::A | Kind::Aaaa | Kind::Cname | Kind::Srv | Kind::Ptr | Kind::Other => {
                Found::NoData
            }
        },
        [namespace, "svc"] => {
            if table.has_namespace(namespace) {
                Found::NoData
            } else {
                Found::NoName
            }
        }
        [dashed, _namespace, "pod"] => match dashed_ip(dashed) {
            Some(ip) => Found::of(addresses(asked, [ip], kind)),
            None => Found::NoName,
        },
        [name, namespace, "svc"] => return of_service(table, asked, &key(namespace, name), kind),
        [port, protocol, name, namespace, "svc"]
            if port.starts_with('_') && protocol.starts_with('_') =>
        {
            of_port(table, asked, &key(namespace, name), (port, protocol), kind)
        }
        [hostname, name, namespace, "svc"] => {
            of_endpoint(table, asked, &key(namespace, name), hostname, kind)
        }
        _ => Found::NoName,
    };
    Step::Done(found)
}

fn of_service(table: &Table, asked: &str, key: &ServiceKey, kind: Kind) -> Step {
    let Some(service) = table.described(key) else { return Step::Done(Found::NoName) };
    if let Some(target) = service.alias {
        return Step::Alias(target.trim_end_matches('.').to_ascii_lowercase());
    }
    Step::Done(match kind {
        Kind::Srv => ports(table, asked, key, |_, _| true),
        Kind::A | Kind::Aaaa if service.headless => {
            Found::of(addresses(asked, table.named(key).map(|e| e.ip), kind))
        }
        Kind::A | Kind::Aaaa => {
            Found::of(addresses(asked, service.cluster_ips.iter().copied(), kind))
        }
        Kind::Cname | Kind::Ptr | Kind::Txt | Kind::Other => Found::NoData,
    })
}

fn of_port(
    table: &Table,
    asked: &str,
    key: &ServiceKey,
    (port, protocol): (&str, &str),
    kind: Kind,
) -> Found {
    let protocol = match protocol {
        "_tcp" => Protocol::Tcp,
        "_udp" => Protocol::Udp,
        _ => return Found::NoName,
    };
    let wanted = port.trim_start_matches('_');
    let found = ports(table, asked, key, |name, own| name == wanted && own == protocol);
    match (found, kind) {
        (Found::NoData, _) => Found::NoName,
        (found, Kind::Srv) => found,
        (_, Kind::A | Kind::Aaaa | Kind::Cname | Kind::Ptr | Kind::Txt | Kind::Other) => {
            Found::NoData
        }
    }
}

/// The ports of a Service that `wanted` names: one record each, for a headless Service one for each
/// endpoint, with the addresses of what they name.
fn ports(
    table: &Table,
    asked: &str,
    key: &ServiceKey,
    wanted: impl Fn(&str, Protocol) -> bool,
) -> Found {
    let Some(service) = table.described(key) else { return Found::NoName };
    let own = name_of(key);
    let mut targets: BTreeSet<(String, u16)> = BTreeSet::new();
    let mut extra: BTreeSet<Record> = BTreeSet::new();
    for (name, port, protocol) in service.ports.iter().filter(|(n, _, p)| wanted(n, *p)) {
        if !service.headless {
            targets.insert((own.clone(), *port));
            extra.extend(service.cluster_ips.iter().map(|ip| record(&own, Data::Address(*ip))));
            continue;
        }
        for endpoint in table.named(key) {
            let Some(port) = endpoint.port(name, *protocol) else { continue };
            let target = format!("{}.{own}", hostname_of(endpoint));
            extra.insert(record(&target, Data::Address(endpoint.ip)));
            targets.insert((target, port));
        }
    }
    let weight = u16::try_from(100 / targets.len().max(1)).unwrap_or(1).max(1);
    let answers = targets
        .into_iter()
        .map(|(target, port)| record(asked, Data::Port { weight, port, target }))
        .collect();
    match Found::of(answers) {
        Found::Records { answers, beyond, .. } => {
            Found::Records { answers, extra: extra.into_iter().collect(), beyond }
        }
        nothing @ (Found::NoData | Found::NoName | Found::Outside) => nothing,
    }
}

fn of_endpoint(table: &Table, asked: &str, key: &ServiceKey, hostname: &str, kind: Kind) -> Found {
    if !table.described(key).is_some_and(|service| service.headless) {
        return Found::NoName;
    }
    let ips: Vec<IpAddr> =
        table.named(key).filter(|e| hostname_of(e) == hostname).map(|e| e.ip).collect();
    if ips.is_empty() {
        return Found::NoName;
    }
    match kind {
        Kind::A | Kind::Aaaa => Found::of(addresses(asked, ips, kind)),
        Kind::Cname | Kind::Srv | Kind::Ptr | Kind::Txt | Kind::Other => Found::NoData,
    }
}

fn reverse(table: &Table, asked: &str, ip: IpAddr, kind: Kind, is_ours: bool) -> Found {
    let names: Vec<String> = match table.virtual_ip(ip) {
        Some(key) => vec![name_of(key)],
        None => {
            let found = table.headless_at(ip);
            found.map(|(key, e)| format!("{}.{}", hostname_of(e), name_of(key))).collect()
        }
    };
    if names.is_empty() {
        return if is_ours { Found::NoName } else { Found::Outside };
    }
    match kind {
        Kind::Ptr => {
            Found::of(names.into_iter().map(|name| record(asked, Data::Name(name))).collect())
        }
        Kind::A | Kind::Aaaa | Kind::Cname | Kind::Srv | Kind::Txt | Kind::Other => Found::NoData,
    }
}

/// The first label of an endpoint's name: its host name, or its address with dashes.
fn hostname_of(endpoint: &Endpoint) -> String {
    match &endpoint.hostname {
        Some(hostname) if !hostname.is_empty() => hostname.to_ascii_lowercase(),
        _ => endpoint.ip.to_string().replace(['.', ':'], "-"),
    }
}

fn name_of(key: &ServiceKey) -> String {
    format!("{}.{}.svc.{CLUSTER_DOMAIN}", key.name, key.namespace)
}

fn addresses(name: &str, ips: impl IntoIterator<Item = IpAddr>, kind: Kind) -> Vec<Record> {
    let of_kind = |ip: &IpAddr| match kind {
        Kind::A => ip.is_ipv4(),
        Kind::Aaaa => ip.is_ipv6(),
        Kind::Cname | Kind::Srv | Kind::Ptr | Kind::Txt | Kind::Other => false,
    };
    let ips: BTreeSet<IpAddr> = ips.into_iter().filter(of_kind).collect();
    ips.into_iter().map(|ip| record(name, Data::Address(ip))).collect()
}

fn record(name: &str, data: Data) -> Record {
    Record { name: name.to_owned(), data }
}

fn key(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn dashed_ip(label: &str) -> Option<IpAddr> {
    label.replace('-', ".").parse().or_else(|_| label.replace('-', ":").parse()).ok()
}

/// The address of a name below `in-addr.arpa` or `ip6.arpa`.
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(rest) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = rest.split('.').rev().map(str::parse::<u8>);
        let mut next = || octets.next()?.ok();
        let ip = Ipv4Addr::new(next()?, next()?, next()?, next()?);
        return octets.next().is_none().then_some(ip.into());
    }
    let nibbles: Vec<&str> = name.strip_suffix(".ip6.arpa")?.split('.').collect();
    if nibbles.len() != 32 || nibbles.iter().any(|nibble| nibble.len() != 1) {
        return None;
    }
    let digits: String = nibbles.into_iter().rev().collect();
    u128::from_str_radix(&digits, 16).ok().map(|bits| Ipv6Addr::from(bits).into())
}
