//! What a host name means in the cluster. Pure.
//!
//! *Source:* Kubernetes DNS specification 1.1, section 2.

use std::net::IpAddr;

/// The zone of all names.
const ZONE: &str = "cluster.local";

/// What a program wants to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A pod or a Service by its address.
    Address(IpAddr),
    /// A Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The host name of one of its pods; any if there is none.
        pod: Option<String>,
    },
}

impl Place {
    /// Reads a host as a pod of `namespace` would; `None` if it is no name of the cluster.
    pub(super) fn of(host: &str, namespace: &str) -> Option<Self> {
        if let Ok(address) = host.parse() {
            return Some(Self::Address(address));
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let inner =
            host.strip_suffix(ZONE).map_or(host.as_str(), |rest| rest.trim_end_matches('.'));
        let labels: Vec<&str> = inner.split('.').collect();
        let service = |namespace: &str, name: &str, pod: Option<&str>| Self::Service {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            pod: pod.map(str::to_owned),
        };
        match labels.as_slice() {
            [name] if !name.is_empty() => Some(service(namespace, name, None)),
            [name, own] | [name, own, "svc"] => Some(service(own, name, None)),
            [pod, name, own, "svc"] => Some(service(own, name, Some(pod))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_in_a_pod() {
        let check = |host: &str, wanted: Option<(&str, &str, Option<&str>)>| {
            let place = Place::of(host, "here");
            let found = place.as_ref().map(|place| match place {
                Place::Address(_) => ("", "", None),
                Place::Service { namespace, name, pod } => {
                    (namespace.as_str(), name.as_str(), pod.as_deref())
                }
            });
            assert_eq!(found, wanted, "{host}");
        };
        check("10.96.0.1", Some(("", "", None)));
        check("web", Some(("here", "web", None)));
        check("web.there", Some(("there", "web", None)));
        check("Web.there.svc", Some(("there", "web", None)));
        check("web.there.svc.cluster.local.", Some(("there", "web", None)));
        check("db-0.db.there.svc.cluster.local", Some(("there", "db", Some("db-0"))));
        check("www.example.com", None);
        check("", None);
    }
}
