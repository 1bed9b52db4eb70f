//! What a name means to a pod: search domains, Service names, and everything else.
//!
//! *Source:* Kubernetes DNS specification 1.1, and `ndots:5` as the kubelet writes it.

use std::net::IpAddr;

use crate::table::{Name, ServiceKey, Table};

/// The zone that all Service names end in.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// ExternalName Services that point at each other are followed this far, then given up.
const ALIASES_MAX: usize = 8;

/// The answer to a lookup from a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name exists in the cluster; the list may be empty (a headless Service without pods).
    Addresses(Vec<IpAddr>),
    /// The name is none of the cluster's: it may exist outside, as this absolute name.
    Outside(String),
    /// The name would be the cluster's, and does not exist.
    Missing,
}

/// Looks `name` up as a pod in `namespace` sees it: relative names through the search domains
/// `<namespace>.svc.cluster.local`, `svc.cluster.local`, `cluster.local`; a final dot makes it
/// absolute.
#[must_use]
pub fn resolve(table: &Table, namespace: &str, name: &str) -> Answer {
    let mut name = name.to_ascii_lowercase();
    for _ in 0..ALIASES_MAX {
        match resolve_once(table, namespace, &name) {
            Step::Done(answer) => return answer,
            Step::Follow(alias) => name = format!("{}.", alias.trim_end_matches('.')),
        }
    }
    Answer::Missing
}

enum Step {
    Done(Answer),
    Follow(String),
}

fn resolve_once(table: &Table, namespace: &str, name: &str) -> Step {
    let candidates: Vec<String> = if let Some(absolute) = name.strip_suffix('.') {
        vec![absolute.to_owned()]
    } else {
        let search = [
            format!("{namespace}.svc.{CLUSTER_DOMAIN}"),
            format!("svc.{CLUSTER_DOMAIN}"),
            CLUSTER_DOMAIN.to_owned(),
        ];
        search.iter().map(|domain| format!("{name}.{domain}")).chain([name.to_owned()]).collect()
    };
    for candidate in &candidates {
        match in_cluster(table, candidate) {
            Some(Name::Addresses(addresses)) => return Step::Done(Answer::Addresses(addresses)),
            Some(Name::Alias(alias)) => return Step::Follow(alias),
            None => {}
        }
    }
    let absolute = name.trim_end_matches('.');
    let ours = absolute.ends_with(&format!(".{CLUSTER_DOMAIN}")) || !absolute.contains('.');
    Step::Done(if ours { Answer::Missing } else { Answer::Outside(absolute.to_owned()) })
}

/// What an absolute name in the cluster's zone means: `<service>.<namespace>.svc.cluster.local`,
/// the same with an endpoint's host name in front, or `<dashed-ip>.<namespace>.pod.cluster.local`.
fn in_cluster(table: &Table, absolute: &str) -> Option<Name> {
    let zone = absolute.strip_suffix(CLUSTER_DOMAIN)?.strip_suffix('.')?;
    let labels: Vec<&str> = zone.split('.').collect();
    match labels.as_slice() {
        [service, namespace, "svc"] => table.service_name(&key(namespace, service)),
        [hostname, service, namespace, "svc"] => {
            table.endpoint_name(&key(namespace, service), hostname)
        }
        [dashed, _namespace, "pod"] => {
            let ip = dashed.replace('-', ".").parse().or_else(|_| dashed.replace('-', ":").parse());
            Some(Name::Addresses(vec![ip.ok()?]))
        }
        _ => None,
    }
}

fn key(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey { namespace: namespace.to_owned(), name: name.to_owned() }
}
