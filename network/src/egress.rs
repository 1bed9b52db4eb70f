//! What a pod may reach outside of the cluster: the grant of the annotation `coracle.dev/egress`.
//!
//! Comes in: the annotation of a Namespace and of a Pod. Goes out: a checked grant that answers
//! whether an address may be dialled and a name looked up. A pod without the annotation reaches
//! nothing real (`design.md` §2, *Network*).

use std::net::IpAddr;

use crate::cidr::Cidr;

/// The annotation on a Pod or its Namespace.
pub const ANNOTATION: &str = "coracle.dev/egress";

/// Entries that one annotation may hold; more is a mistake, and each is looked at per connection.
pub const ENTRIES_MAX: usize = 128;

/// A grant to reach the real network. The default grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    target: Target,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// `*`: everything but the host itself and link-local addresses.
    Anything,
    /// A range of addresses.
    Range(Cidr),
    /// A DNS name, lower case without a final dot; `*.example.com` is stored as `.example.com`.
    Name(String),
}

/// An entry of the annotation that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "annotation coracle.dev/egress: entry '{entry}' must be '*', a name, an address or a CIDR, each with an optional ':port'"
)]
pub struct InvalidEgress {
    /// The entry as written.
    pub entry: String,
}

impl Egress {
    /// Parses the annotation's value: entries separated by commas or white space.
    ///
    /// # Errors
    /// [`InvalidEgress`] names the first entry that is none of the allowed forms.
    pub fn parse(text: &str) -> Result<Self, InvalidEgress> {
        let entries = text.split([',', ' ', '\n', '\t']).filter(|entry| !entry.is_empty());
        let rules = entries.take(ENTRIES_MAX).map(parse_entry).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Both grants together.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self
    }

    /// Whether nothing at all is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a connection to `address` and `port` is granted by an address rule.
    ///
    /// Loopback, unspecified, multicast and link-local addresses never are; the host's own other
    /// addresses are kept out by the router, which knows them.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr, port: u16) -> bool {
        !is_never_granted(address)
            && self.rules.iter().any(|rule| {
                rule.allows_port(port)
                    && match &rule.target {
                        Target::Anything => true,
                        Target::Range(range) => range.contains(address),
                        Target::Name(_) => false,
                    }
            })
    }

    /// Whether `name` may be looked up, and on which port what it resolves to may be dialled:
    /// `None` is no grant, `Some(None)` every port.
    #[must_use]
    pub fn allows_name(&self, name: &str) -> Option<Option<u16>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.rules
            .iter()
            .find(|rule| match &rule.target {
                Target::Anything => true,
                Target::Range(_) => false,
                Target::Name(granted) => {
                    *granted == name
                        || (granted.starts_with('.') && name.ends_with(granted.as_str()))
                }
            })
            .map(|rule| rule.port)
    }
}

impl Rule {
    fn allows_port(&self, port: u16) -> bool {
        self.port.is_none_or(|granted| granted == port)
    }
}

/// Whether no grant may ever include `address`: the host's loopback, link-local (the metadata
/// services of clouds), unspecified and multicast.
#[must_use]
pub fn is_never_granted(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
        }
    }
}

fn parse_entry(entry: &str) -> Result<Rule, InvalidEgress> {
    let invalid = || InvalidEgress { entry: entry.to_owned() };
    let (target, port) = match entry.rsplit_once(':') {
        // A bare IPv6 address or range has more than one colon and no brackets.
        Some((head, _)) if head.contains(':') && !head.ends_with(']') => (entry, None),
        Some((head, port)) => (head, Some(port.parse().map_err(|_| invalid())?)),
        None => (entry, None),
    };
    let target = target.trim_start_matches('[').trim_end_matches(']');
    parse_target(target).map(|target| Rule { target, port }).ok_or_else(invalid)
}

fn parse_target(text: &str) -> Option<Target> {
    if text == "*" {
        return Some(Target::Anything);
    }
    if let Some(range) = Cidr::parse(text) {
        return Some(Target::Range(range));
    }
    // `*.example.com` is kept as `.example.com`: any name below, not the name itself.
    let (labels, below) = match text.strip_prefix("*.") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let valid = labels.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    let name = labels.to_ascii_lowercase();
    valid.then(|| Target::Name(if below { format!(".{name}") } else { name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(grant: &str, address: &str, port: u16) -> bool {
        Egress::parse(grant).unwrap().allows_address(address.parse().unwrap(), port)
    }

    #[test]
    fn grants_by_range_and_port() {
        assert!(check("192.0.2.0/24", "192.0.2.9", 443));
        assert!(!check("192.0.2.0/24", "192.0.3.9", 443));
        assert!(check("192.0.2.7:443", "192.0.2.7", 443));
        assert!(!check("192.0.2.7:443", "192.0.2.7", 80));
        assert!(check("2001:db8::/32, 192.0.2.7", "2001:db8::1", 80));
        assert!(check("[2001:db8::1]:53", "2001:db8::1", 53));
        assert!(!check("", "192.0.2.7", 80));
    }

    #[test]
    fn a_star_is_never_the_host_nor_link_local() {
        for address in
            ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0", "::ffff:127.0.0.1"]
        {
            assert!(!check("*", address, 80), "{address}");
        }
        assert!(check("*", "198.51.100.1", 80));
    }

    #[test]
    fn grants_by_name() {
        let egress = Egress::parse("api.example.com:443 *.example.org").unwrap();
        assert_eq!(egress.allows_name("API.example.com."), Some(Some(443)));
        assert_eq!(egress.allows_name("a.b.example.org"), Some(None));
        assert_eq!(egress.allows_name("example.org"), None);
        assert_eq!(egress.allows_name("evilexample.org"), None);
    }

    #[test]
    fn names_the_entry_that_is_wrong() {
        for entry in ["10.0.0.0/33", "a_b", "*x.org", "host:port", "a..b", "*."] {
            assert_eq!(Egress::parse(entry), Err(InvalidEgress { entry: entry.to_owned() }));
        }
    }
}
