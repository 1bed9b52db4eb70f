//! Address ranges of nodes: the next free part of the cluster's range.

use std::collections::HashSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IPv4 range, its host bits zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

/// Why a text is no IPv4 range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("range {0:?} is not an IPv4 CIDR such as 10.128.0.0/9")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Cidr, CidrError> {
        let error = || CidrError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let address: Ipv4Addr = address.parse().map_err(|_| error())?;
        let prefix: u8 = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(error)?;
        Ok(Cidr { base: address.to_bits() & mask(prefix), prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.base), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl Cidr {
    fn overlaps(self, other: Cidr) -> bool {
        let wider = mask(self.prefix.min(other.prefix));
        self.base & wider == other.base & wider
    }
}

/// The most leading bits of a cluster's IPv6 range: 32 bits are left before those of a /64.
const IPV6_BITS_MAX: u8 = 32;

/// Gives the IPv6 /64 that goes with a node's IPv4 range: its second 32 bits are the range's first
/// address. IPv4 ranges of nodes never meet, so these never do either, whatever their sizes.
///
/// `None` when `cluster` is no IPv6 range of at most 32 bits.
pub fn companion(cluster: &str, node: Cidr) -> Option<String> {
    let (address, bits) = cluster.split_once('/')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok().filter(|bits| *bits <= IPV6_BITS_MAX)?;
    let shared = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    let start = address.to_bits() & shared | u128::from(node.base) << 64;
    Some(format!("{}/64", Ipv6Addr::from_bits(start)))
}

/// Gives the first range of `prefix` bits within `cluster` that overlaps none in use.
///
/// `None` when the cluster's range is used up, or `prefix` is no part of it.
pub fn next_free(cluster: Cidr, prefix: u8, used: &[Cidr]) -> Option<Cidr> {
    if prefix < cluster.prefix || prefix > 32 {
        return None;
    }
    let n_parts = 1_u64 << (prefix - cluster.prefix);
    let size = 1_u64 << (32 - prefix);
    let exact: HashSet<Cidr> = used.iter().copied().collect();
    // Ranges of another size are few: somebody chose them by hand.
    let odd: Vec<Cidr> = used.iter().copied().filter(|cidr| cidr.prefix != prefix).collect();
    let part = |n: u64| {
        let base = u32::try_from(u64::from(cluster.base) + n * size).ok()?;
        Some(Cidr { base, prefix })
    };
    let free = |cidr: &Cidr| !exact.contains(cidr) && !odd.iter().any(|odd| odd.overlaps(*cidr));
    (0..n_parts).filter_map(part).find(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cluster: &str, prefix: u8, used: &[&str], expected: Option<&str>) {
        let used: Vec<Cidr> = used.iter().map(|text| text.parse().unwrap()).collect();
        let found = next_free(cluster.parse().unwrap(), prefix, &used);
        assert_eq!(found.map(|cidr| cidr.to_string()).as_deref(), expected);
    }

    #[test]
    fn a_range_has_one_companion() {
        let check = |cluster: &str, node: &str, expected: Option<&str>| {
            assert_eq!(companion(cluster, node.parse().unwrap()).as_deref(), expected);
        };
        check("fd63:6f72::/32", "10.128.0.0/18", Some("fd63:6f72:a80::/64"));
        check("fd63:6f72:ffff::/32", "10.128.64.0/18", Some("fd63:6f72:a80:4000::/64"));
        check("fd63:6f72::/33", "10.128.0.0/18", None);
        check("10.128.0.0/9", "10.128.0.0/18", None);
    }

    #[test]
    fn the_first_free_part_is_given() {
        check("10.128.0.0/9", 18, &[], Some("10.128.0.0/18"));
        check("10.128.0.0/9", 18, &["10.128.0.0/18", "10.128.128.0/18"], Some("10.128.64.0/18"));
        check("10.128.0.0/9", 18, &["10.128.0.0/16", "10.129.0.0/24"], Some("10.129.64.0/18"));
        check("10.0.0.0/31", 32, &["10.0.0.0/32", "10.0.0.1/32"], None);
        check("10.0.0.0/16", 8, &[], None);
        check("0.0.0.0/0", 1, &["0.0.0.0/1"], Some("128.0.0.0/1"));
    }

    #[test]
    fn only_ranges_are_read() {
        for text in ["10.0.0.0", "10.0.0/8", "10.0.0.0/33", "::/8", ""] {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError(text.to_owned())));
        }
        assert_eq!("10.1.2.3/8".parse::<Cidr>().unwrap().to_string(), "10.0.0.0/8");
    }
}
