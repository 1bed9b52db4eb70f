//! What a name means to a pod: search domains, Service names, and everything else. Pure.
//!
//! *Source:* Kubernetes DNS specification 1.1, `resolv.conf(5)`, and `ndots:5` as the kubelet writes
//! it.

use std::net::IpAddr;

use crate::dns::zone::{self, Data, Found, Kind};
use crate::table::Table;

/// The zone that all Service names end in.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// Search domains of one pod. *Source:* Kubernetes' `MaxDNSSearchPaths`.
const DOMAINS_MAX: usize = 32;

/// The answer to a lookup from a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name exists in the cluster; the list may be empty (a headless Service without pods).
    Addresses(Vec<IpAddr>),
    /// The name is none of the cluster's: it may exist outside, as the first of these absolute names
    /// that does.
    Outside(Vec<String>),
    /// The name would be the cluster's, and does not exist.
    Missing,
}

/// How a pod completes a name that is not absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// What is put behind it, in order; without final dots.
    pub domains: Vec<String>,
    /// From so many dots on, a name is tried as it is first.
    pub ndots: usize,
}

impl Search {
    /// What a pod of the namespace has unless its `dnsPolicy` or `dnsConfig` says otherwise.
    #[must_use]
    pub fn of(namespace: &str) -> Self {
        let domains = vec![
            format!("{namespace}.svc.{CLUSTER_DOMAIN}"),
            format!("svc.{CLUSTER_DOMAIN}"),
            CLUSTER_DOMAIN.to_owned(),
        ];
        Self { domains, ndots: 5 }
    }

    /// The absolute names that a name may mean, in the order in which they are tried; without final
    /// dots. A final dot makes it absolute already.
    #[must_use]
    pub fn candidates(&self, name: &str) -> Vec<String> {
        let lower = name.to_ascii_lowercase();
        if let Some(absolute) = lower.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let domains = self.domains.iter().take(DOMAINS_MAX).filter(|domain| !domain.is_empty());
        let mut all: Vec<String> = domains.map(|domain| format!("{lower}.{domain}")).collect();
        let as_it_is = if lower.matches('.').count() >= self.ndots { 0 } else { all.len() };
        all.insert(as_it_is, lower);
        all
    }
}

/// Looks a name up as a pod with these search domains sees it.
#[must_use]
pub fn resolve(table: &Table, search: &Search, name: &str) -> Answer {
    let mut outside = Vec::new();
    for candidate in search.candidates(name) {
        match addresses(table, &candidate) {
            Meaning::Here(found) => return Answer::Addresses(found),
            Meaning::Beyond(target) => {
                outside.push(target);
                return Answer::Outside(outside);
            }
            // A name without a dot is nobody's outside.
            Meaning::Outside if candidate.contains('.') => outside.push(candidate),
            Meaning::Outside | Meaning::Nothing => {}
        }
    }
    if outside.is_empty() { Answer::Missing } else { Answer::Outside(outside) }
}

enum Meaning {
    Here(Vec<IpAddr>),
    Beyond(String),
    Outside,
    Nothing,
}

/// What an absolute name means, in both families.
fn addresses(table: &Table, absolute: &str) -> Meaning {
    let mut all = Vec::new();
    let mut exists = false;
    for kind in [Kind::A, Kind::Aaaa] {
        match zone::look_up(table, absolute, kind, |_| false) {
            Found::Records { beyond: Some(target), .. } => return Meaning::Beyond(target),
            Found::Records { answers, .. } => {
                for record in answers {
                    match record.data {
                        Data::Address(ip) => {
                            exists = true;
                            all.push(ip);
                        }
                        Data::Alias(_) | Data::Port { .. } | Data::Name(_) | Data::Text(_) => {}
                    }
                }
            }
            Found::NoData => exists = true,
            Found::NoName => {}
            Found::Outside => return Meaning::Outside,
        }
    }
    if exists { Meaning::Here(all) } else { Meaning::Nothing }
}
