//! A pod's `/etc/resolv.conf`: `dnsPolicy` and `dnsConfig`. Pure.
//!
//! *Source:* Kubernetes docs, "DNS for Services and Pods"; the kubelet's DNS configurer. The search
//! domains of the machine are not put behind those of the cluster: they would be asked for outside
//! with every name that does not exist.

use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::PodSpec;

/// Name servers of one pod; further ones are left out. *Source:* Kubernetes' `MaxDNSNameservers`.
const SERVERS_MAX: usize = 3;
/// Search domains of one pod. *Source:* Kubernetes' `MaxDNSSearchPaths`.
const DOMAINS_MAX: usize = 32;

/// What is the same for all pods of a host.
#[derive(Clone, Copy, Debug)]
pub struct DnsSurroundings<'a> {
    /// The cluster's DNS address.
    pub cluster: IpAddr,
    /// The cluster's domain.
    pub domain: &'a str,
    /// The machine's own `resolv.conf`.
    pub machine: &'a str,
}

#[derive(Default)]
struct Config {
    servers: Vec<String>,
    domains: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

/// Gives the text of a pod's `resolv.conf`.
#[must_use]
pub fn resolv_conf(spec: &PodSpec, namespace: &str, around: DnsSurroundings<'_>) -> String {
    let on_host = spec.host_network.unwrap_or(false);
    let mut config = match spec.dns_policy.as_deref() {
        Some("None") => Config::default(),
        Some("Default") => Config::read(around.machine),
        Some("ClusterFirstWithHostNet") => Config::of_cluster(namespace, around),
        _cluster_first if on_host => Config::read(around.machine),
        _cluster_first => Config::of_cluster(namespace, around),
    };
    if let Some(own) = &spec.dns_config {
        config.servers.extend(own.nameservers.iter().flatten().cloned());
        config.domains.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            config.options.retain(|(known, _)| known != name);
            config.options.push((name.clone(), option.value.clone().filter(|v| !v.is_empty())));
        }
    }
    config.text()
}

impl Config {
    fn of_cluster(namespace: &str, around: DnsSurroundings<'_>) -> Self {
        let domain = around.domain;
        Self {
            servers: vec![around.cluster.to_string()],
            domains: vec![
                format!("{namespace}.svc.{domain}"),
                format!("svc.{domain}"),
                domain.to_owned(),
            ],
            options: vec![("ndots".to_owned(), Some("5".to_owned()))],
        }
    }

    fn read(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => config.servers.extend(words.next()),
                // The last one counts.
                Some("search" | "domain") => config.domains = words.collect(),
                Some("options") => {
                    config.options.extend(words.map(|word| match word.split_once(':') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                        None => (word, None),
                    }))
                }
                Some(_) | None => {}
            }
        }
        config
    }

    fn text(self) -> String {
        let mut text = String::new();
        let domains = once_each(self.domains, DOMAINS_MAX);
        if !domains.is_empty() {
            let _ = writeln!(text, "search {}", domains.join(" "));
        }
        for server in once_each(self.servers, SERVERS_MAX) {
            let _ = writeln!(text, "nameserver {server}");
        }
        let option = |(name, value): (String, Option<String>)| match value {
            Some(value) => format!("{name}:{value}"),
            None => name,
        };
        let options: Vec<String> = self.options.into_iter().map(option).collect();
        if !options.is_empty() {
            let _ = writeln!(text, "options {}", options.join(" "));
        }
        text
    }
}

fn once_each(all: Vec<String>, count_max: usize) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for one in all {
        if kept.len() < count_max && !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value, expected: &str) {
        let mut all = json!({"containers": []});
        for (field, value) in spec.as_object().unwrap() {
            all[field] = value.clone();
        }
        let around = DnsSurroundings {
            cluster: "10.96.0.10".parse().unwrap(),
            domain: "cluster.local",
            machine: "# of the machine\nnameserver 192.0.2.53\nsearch corp.example\noptions edns0\n",
        };
        let spec = serde_json::from_value(all).unwrap();
        assert_eq!(resolv_conf(&spec, "a", around), expected);
    }

    #[test]
    fn the_policy_says_where_it_comes_from() {
        let cluster = "search a.svc.cluster.local svc.cluster.local cluster.local\n\
                       nameserver 10.96.0.10\noptions ndots:5\n";
        let machine = "search corp.example\nnameserver 192.0.2.53\noptions edns0\n";
        check(json!({}), cluster);
        check(json!({"dnsPolicy": "ClusterFirst"}), cluster);
        check(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), machine);
        check(json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), cluster);
        check(json!({"dnsPolicy": "Default"}), machine);
        check(json!({"dnsPolicy": "None"}), "");
    }

    #[test]
    fn what_the_pod_adds_comes_behind_and_its_options_win() {
        let config = json!({"nameservers": ["1.1.1.1", "10.96.0.10", "1.1.1.2", "1.1.1.3"],
            "searches": ["more.example", "cluster.local"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
        check(
            json!({"dnsConfig": config.clone()}),
            "search a.svc.cluster.local svc.cluster.local cluster.local more.example\n\
             nameserver 10.96.0.10\nnameserver 1.1.1.1\nnameserver 1.1.1.2\n\
             options ndots:2 edns0\n",
        );
        check(
            json!({"dnsPolicy": "None", "dnsConfig": config}),
            "search more.example cluster.local\nnameserver 1.1.1.1\nnameserver 10.96.0.10\n\
             nameserver 1.1.1.2\noptions ndots:2 edns0\n",
        );
    }
}
