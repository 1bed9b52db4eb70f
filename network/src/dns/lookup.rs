//! Lookups of guests that do not speak DNS themselves: by their pod's `resolv.conf`, answered in the
//! host. An edge: names outside are asked for.

use std::net::IpAddr;
use std::sync::Arc;

use coracle_vnet::{BoxFuture, NsTag, ResolveError, Resolver};
use futures::FutureExt as _;
use futures::future::ready;

use super::stub;
use crate::egress;
use crate::names::{self, Answer, Search};
use crate::network::{Answers, Network};

/// Name servers of one pod. *Source:* Kubernetes' `MaxDNSNameservers`.
const SERVERS_MAX: usize = 3;
/// `ndots` at most. *Source:* `resolv.conf(5)`.
const NDOTS_MAX: usize = 15;

/// Whom a pod's lookups go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// The cluster: answered in the host.
    Cluster,
    /// The name servers of the machine.
    Machine,
    /// Others, which the pod itself has to reach.
    Own(Vec<IpAddr>),
}

/// How a pod's lookups are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDns {
    /// The pod's address.
    pub ip: IpAddr,
    /// How names are completed.
    pub search: Search,
    /// Whom they go to.
    pub servers: Servers,
}

impl PodDns {
    /// Reads a pod's `resolv.conf`. `is_cluster`: whether an address is the cluster's DNS address;
    /// `machine`: the name servers of the machine.
    #[must_use]
    pub fn of_resolv_conf(
        ip: IpAddr,
        text: &str,
        is_cluster: impl Fn(IpAddr) -> bool,
        machine: &[IpAddr],
    ) -> Self {
        let servers = name_servers(text);
        let servers = match servers.first() {
            Some(first) if is_cluster(*first) => Servers::Cluster,
            Some(first) if !machine.contains(first) => Servers::Own(servers),
            Some(_) | None => Servers::Machine,
        };
        let mut search = Search { domains: Vec::new(), ndots: 1 };
        for (key, words) in entries(text) {
            match key {
                // The last one counts.
                "search" | "domain" => {
                    let clean = |word: &&str| word.trim_end_matches('.').to_ascii_lowercase();
                    search.domains = words.iter().map(clean).filter(|d| !d.is_empty()).collect();
                }
                "options" => {
                    let ndots = words.iter().filter_map(|word| word.strip_prefix("ndots:"));
                    let ndots = ndots.filter_map(|number| number.parse().ok()).next_back();
                    search.ndots = ndots.map_or(search.ndots, |n: usize| n.min(NDOTS_MAX));
                }
                _other_keys => {}
            }
        }
        Self { ip, search, servers }
    }
}

/// The name servers of a `resolv.conf`, at most three.
#[must_use]
pub fn name_servers(text: &str) -> Vec<IpAddr> {
    let servers = entries(text).filter(|(key, _)| *key == "nameserver");
    let ips = servers.filter_map(|(_, words)| words.first()?.parse().ok());
    ips.take(SERVERS_MAX).collect()
}

/// The lines of a `resolv.conf`: key and words.
fn entries(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    text.lines().filter(|line| !line.starts_with(['#', ';'])).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.collect()))
    })
}

impl Resolver for Answers {
    fn resolve(
        &self,
        from: &NsTag,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        let network = Arc::clone(&self.0);
        let (from, asked) = (from.clone(), name.to_owned());
        let dns = network.lookups(&from);
        let search =
            dns.as_ref().map_or_else(|| Search::of(from.namespace()), |dns| dns.search.clone());
        let candidates = match dns.map(|dns| (dns.ip, dns.servers)) {
            None | Some((_, Servers::Cluster)) => {
                match network.read(|table| names::resolve(table, &search, name)) {
                    Answer::Addresses(addresses) => return ready(Ok(addresses)).boxed(),
                    Answer::Missing => return ready(Err(ResolveError::NotFound(asked))).boxed(),
                    Answer::Outside(candidates) => candidates,
                }
            }
            Some((_, Servers::Machine)) => search.candidates(name),
            Some((ip, Servers::Own(servers))) => {
                let ns = network.guard.fabric().and_then(|fabric| fabric.get(ip));
                let Some(ns) = ns else {
                    return ready(Err(ResolveError::NotFound(asked))).boxed();
                };
                let candidates = search.candidates(name);
                return async move { stub::resolve(&ns, &servers, &candidates, &asked).await }
                    .boxed();
            }
        };
        async move {
            let mut said = ResolveError::NotFound(asked);
            for candidate in candidates {
                match look_up_outside(&network, &from, candidate).await {
                    Ok(found) => return Ok(found),
                    Err(error) => said = error,
                }
            }
            Err(said)
        }
        .boxed()
    }
}

/// Looks an absolute name up outside, if the pod's grant has it.
async fn look_up_outside(
    network: &Network,
    from: &NsTag,
    name: String,
) -> Result<Vec<IpAddr>, ResolveError> {
    let Some(port) = network.allows_name(from, &name) else {
        let reason = why_not(&name);
        return Err(ResolveError::Refused { name, reason });
    };
    let found = tokio::net::lookup_host((name.as_str(), 0)).await;
    let addresses: Vec<IpAddr> = match found {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(error) => {
            let reason = error.to_string();
            return Err(ResolveError::Temporary { name: name.clone(), reason });
        }
    };
    network.remember(from, &addresses, port);
    Ok(addresses)
}

/// What a pod is told that may not look a name up.
pub(super) fn why_not(name: &str) -> String {
    let annotation = egress::ANNOTATION;
    format!("grant it with the annotation {annotation}: \"{name}\" on the Pod or its Namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> PodDns {
        let cluster: IpAddr = "10.96.0.10".parse().unwrap();
        let machine = ["192.0.2.53".parse().unwrap()];
        let own = "10.128.0.5".parse().unwrap();
        PodDns::of_resolv_conf(own, text, |ip| ip == cluster, &machine)
    }

    #[test]
    fn a_resolv_conf_says_whom_to_ask_and_what_for() {
        let usual = read(
            "search a.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n\
             options ndots:5\n",
        );
        assert_eq!((usual.servers, usual.search), (Servers::Cluster, Search::of("a")));
        let own = read("# mine\nnameserver 10.128.0.9\nnameserver 1.2.3.4\nsearch One. two\n");
        let ips = ["10.128.0.9", "1.2.3.4"].map(|ip| ip.parse().unwrap()).to_vec();
        assert_eq!(own.servers, Servers::Own(ips));
        let search = Search { domains: vec!["one".into(), "two".into()], ndots: 1 };
        assert_eq!(own.search, search);
        let machine = read("nameserver 192.0.2.53\noptions ndots:2 edns0 ndots:99\n");
        assert_eq!((machine.servers, machine.search.ndots), (Servers::Machine, NDOTS_MAX));
        assert_eq!(read("").servers, Servers::Machine);
    }

    #[test]
    fn names_are_completed_in_order() {
        let candidates = |ndots: usize, name: &str| {
            let search = Search { domains: vec!["d.e".into(), "f".into()], ndots };
            search.candidates(name).join(" ")
        };
        assert_eq!(candidates(2, "a"), "a.d.e a.f a");
        assert_eq!(candidates(2, "A.b.C"), "a.b.c a.b.c.d.e a.b.c.f");
        assert_eq!(candidates(2, "a."), "a");
    }
}
