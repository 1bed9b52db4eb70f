//! Whether a stream of a peer may come in: pure.

use std::net::SocketAddr;

use super::head::Head;
use super::peers::Peers;
use crate::switch::Ranges;

/// Why a stream may not come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The peer speaks for a pod that is not its own.
    #[error("node '{peer}' may not speak for {claimed}, which is no pod of it")]
    NotItsPod {
        /// The node of the peer's certificate.
        peer: String,
        /// The source it gave.
        claimed: SocketAddr,
    },
    /// The source is an address that nobody outside has.
    #[error("{0} is no address that a client outside can have")]
    NoClient(SocketAddr),
    /// The destination is no pod's.
    #[error("{0} is no address of a pod")]
    NoPod(SocketAddr),
}

/// Checks a stream's head. `peer`: the node that the certificate of the connection names.
///
/// A pod's stream must come from the host whose Node has the pod's range. A stream of a client
/// outside, which came in by a node port, may come from any host: that host alone knows the client.
///
/// # Errors
/// [`Refused`].
pub fn admit(head: &Head, peer: &str, peers: &Peers, ranges: &Ranges) -> Result<(), Refused> {
    let (source, destination) = (head.source, head.destination);
    if !ranges.is_pod(destination.ip()) {
        return Err(Refused::NoPod(destination));
    }
    if ranges.is_pod(source.ip()) {
        let own = peers.owner(source.ip()).is_some_and(|owner| owner.node == peer);
        let error = || Refused::NotItsPod { peer: peer.to_owned(), claimed: source };
        return if own { Ok(()) } else { Err(error()) };
    }
    let ip = source.ip();
    let odd = ip.is_unspecified() || ip.is_multicast() || ranges.is_service(ip);
    if odd || head.from.is_some() {
        return Err(Refused::NoClient(source));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cidr::Cidr;
    use coracle_vnet::NsTag;
    use serde_json::json;

    fn check(source: &str, from: Option<&str>, to: &str, peer: &str, expected: Option<&str>) {
        let ranges = Ranges {
            pods: Cidr::parse_families("10.128.0.0/9,fd63:6f72::/32").unwrap(),
            services: Cidr::parse_families("10.96.0.0/12,fd63:6f73::/108").unwrap(),
            host: [].into(),
        };
        let mut peers = Peers::default();
        for (name, range, range6) in [
            ("a", "10.128.0.0/18", "fd63:6f72:a80::/64"),
            ("b", "10.128.64.0/18", "fd63:6f72:a80:4000::/64"),
        ] {
            let spec = json!({"podCIDR": range, "podCIDRs": [range, range6]});
            let node = json!({"metadata": {"name": name}, "spec": spec});
            peers.set(&serde_json::from_value(node).unwrap());
        }
        let head = Head {
            source: source.parse().unwrap(),
            from: from.map(|name| NsTag::new("uid", name)),
            destination: to.parse().unwrap(),
            protocol: coracle_vnet::Protocol::Tcp,
        };
        let said = admit(&head, peer, &peers, &ranges).err().map(|error| error.to_string());
        assert_eq!(said.as_deref(), expected);
    }

    #[test]
    fn a_host_speaks_for_its_own_pods_and_for_clients_outside() {
        let (own, to) = ("10.128.0.5:40000", "10.128.64.9:80");
        check(own, Some("default/web"), to, "a", None);
        check("203.0.113.9:5000", None, to, "a", None);
        let not_its = "node 'b' may not speak for 10.128.0.5:40000, which is no pod of it";
        check(own, Some("default/web"), to, "b", Some(not_its));
        check(own, None, to, "b", Some(not_its));
        let nobody = "node 'a' may not speak for 10.200.0.1:1, which is no pod of it";
        check("10.200.0.1:1", None, to, "a", Some(nobody));
        let (own6, to6) = ("[fd63:6f72:a80::a80:5]:40000", "[fd63:6f72:a80:4000::a80:4009]:80");
        check(own6, Some("default/web"), to6, "a", None);
        let not_its6 = format!("node 'b' may not speak for {own6}, which is no pod of it");
        check(own6, Some("default/web"), to6, "b", Some(&not_its6));
        let odd6 = "[fd63:6f73::a]:53 is no address that a client outside can have";
        check("[fd63:6f73::a]:53", None, to6, "a", Some(odd6));
        let odd = "10.96.0.10:53 is no address that a client outside can have";
        check("10.96.0.10:53", None, to, "a", Some(odd));
        let odd = "203.0.113.9:5000 is no address that a client outside can have";
        check("203.0.113.9:5000", Some("default/web"), to, "a", Some(odd));
        check(own, None, "127.0.0.1:22", "a", Some("127.0.0.1:22 is no address of a pod"));
    }
}
