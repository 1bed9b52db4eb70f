//! Pod addresses of one node: which addresses of the node's range are taken.
//!
//! Comes in: the node's pod CIDRs and the addresses of pods that already run. Goes out: one free
//! IPv4 address at a time, and the IPv6 address that goes with it. Nothing here knows pods; the
//! caller keeps who holds what.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cidr::Cidr;

/// The most leading bits that a node's IPv6 range may have: the rest holds an IPv4 address.
const IPV6_BITS_MAX: u8 = 96;

/// The IPv6 addresses of a node, one for each IPv4 address: the range's bits, and the IPv4 address at
/// the end. So nobody has to note which are taken, and a pod that keeps the one keeps the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Companions {
    range: Ipv6Addr,
}

impl Companions {
    /// The companions in `cidr` (IPv6, at most /96).
    ///
    /// # Errors
    /// [`IpamError::InvalidCidr6`] if `cidr` is no such range.
    pub fn new(cidr: &str) -> Result<Self, IpamError> {
        let range = Cidr::parse(cidr).and_then(|range| match range.start() {
            IpAddr::V6(start) if range.bits() <= IPV6_BITS_MAX => Some((start, range.bits())),
            IpAddr::V6(_) | IpAddr::V4(_) => None,
        });
        let (start, bits) = range.ok_or_else(|| IpamError::InvalidCidr6(cidr.to_owned()))?;
        let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
        Ok(Self { range: Ipv6Addr::from_bits(start.to_bits() & mask) })
    }

    /// The IPv6 address that goes with an IPv4 address; `None` for another one.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(v4) => {
                let bits = self.range.to_bits() | u128::from(v4.to_bits());
                Some(Ipv6Addr::from_bits(bits).into())
            }
            IpAddr::V6(_) => None,
        }
    }
}

/// The free and taken addresses of an IPv4 range.
///
/// The first two addresses (network, gateway by convention) and the last (broadcast) are never
/// handed out. Addresses are handed out in ascending order from after the last one, so that a
/// freed address rests as long as possible before it is used again.
#[derive(Debug, Clone)]
pub struct Pool {
    first: u32,
    last: u32,
    next: u32,
    taken: BTreeSet<u32>,
}

/// Why a [`Pool`] could not be made or has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IpamError {
    /// The text is not an IPv4 CIDR such as `10.128.0.0/18`, or it holds fewer than four addresses.
    #[error("pod CIDR '{0}' must be an IPv4 range such as 10.128.0.0/18 with at least 4 addresses")]
    InvalidCidr(String),
    /// The text is not an IPv6 CIDR of at most 96 bits.
    #[error("pod CIDR '{0}' must be an IPv6 range such as fd63:6f72:a80::/64, at most a /96")]
    InvalidCidr6(String),
    /// Every address of the range is held by a pod.
    #[error(
        "no free pod address in a range of {0}: delete pods or give the node a larger range (--node-mask)"
    )]
    Exhausted(u32),
    /// The address lies outside of the range.
    #[error("address {0} is not in this node's range")]
    OutOfRange(IpAddr),
    /// The address is held already.
    #[error("address {0} is in use")]
    InUse(IpAddr),
}

impl Pool {
    /// Makes a pool over `cidr` (IPv4, `address/prefix`), with no address taken.
    ///
    /// # Errors
    /// [`IpamError::InvalidCidr`] if `cidr` can't be parsed or is smaller than a /30.
    pub fn new(cidr: &str) -> Result<Self, IpamError> {
        let (start, size) =
            parse_ipv4_cidr(cidr).ok_or_else(|| IpamError::InvalidCidr(cidr.to_owned()))?;
        if size < 4 {
            return Err(IpamError::InvalidCidr(cidr.to_owned()));
        }
        let first = start + 2;
        Ok(Self { first, last: start + (size - 2) as u32, next: first, taken: BTreeSet::new() })
    }

    /// Takes the next free address.
    ///
    /// # Errors
    /// [`IpamError::Exhausted`] if every address is taken.
    pub fn allocate(&mut self) -> Result<IpAddr, IpamError> {
        let size = self.last - self.first + 1;
        let address = (0..size)
            .map(|step| self.first + (self.next - self.first + step) % size)
            .find(|address| !self.taken.contains(address))
            .ok_or(IpamError::Exhausted(size))?;
        self.taken.insert(address);
        self.next = if address == self.last { self.first } else { address + 1 };
        Ok(Ipv4Addr::from_bits(address).into())
    }

    /// Takes a given address: for a pod that ran before a restart and keeps its address.
    ///
    /// # Errors
    /// [`IpamError::OutOfRange`] or [`IpamError::InUse`].
    pub fn take(&mut self, address: IpAddr) -> Result<(), IpamError> {
        let bits = self.bits(address)?;
        if self.taken.insert(bits) { Ok(()) } else { Err(IpamError::InUse(address)) }
    }

    /// Gives an address back; one that is not taken is ignored.
    pub fn release(&mut self, address: IpAddr) {
        if let Ok(bits) = self.bits(address) {
            self.taken.remove(&bits);
        }
    }

    /// Whether `address` belongs to this node's range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.bits(address).is_ok()
    }

    fn bits(&self, address: IpAddr) -> Result<u32, IpamError> {
        match address {
            IpAddr::V4(v4) if (self.first..=self.last).contains(&v4.to_bits()) => Ok(v4.to_bits()),
            IpAddr::V4(_) | IpAddr::V6(_) => Err(IpamError::OutOfRange(address)),
        }
    }
}

/// The first address and the number of addresses of an IPv4 CIDR; host bits are cleared.
fn parse_ipv4_cidr(cidr: &str) -> Option<(u32, u64)> {
    let (address, prefix) = cidr.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    let size = 1_u64 << (32 - prefix);
    Some((address.to_bits() & !((size - 1) as u32), size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hands_out_each_address_once_and_reuses_the_oldest_freed() {
        let mut pool = Pool::new("10.128.0.0/29").unwrap();
        let all: Vec<_> = (0..5).map(|_| pool.allocate().unwrap().to_string()).collect();
        assert_eq!(all, ["10.128.0.2", "10.128.0.3", "10.128.0.4", "10.128.0.5", "10.128.0.6"]);
        assert_eq!(pool.allocate(), Err(IpamError::Exhausted(5)));
        pool.release("10.128.0.4".parse().unwrap());
        pool.release("10.128.0.3".parse().unwrap());
        assert_eq!(pool.allocate().unwrap().to_string(), "10.128.0.3");
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/31", "fd00::/64", "x/8"] {
            assert_eq!(Pool::new(text).err(), Some(IpamError::InvalidCidr(text.to_owned())));
        }
    }

    #[test]
    fn a_pod_that_ran_before_keeps_its_address() {
        let mut pool = Pool::new("10.128.64.0/18").unwrap();
        let address: IpAddr = "10.128.64.2".parse().unwrap();
        pool.take(address).unwrap();
        assert_eq!(pool.take(address), Err(IpamError::InUse(address)));
        assert_eq!(pool.allocate().unwrap().to_string(), "10.128.64.3");
        let outside: IpAddr = "10.128.0.2".parse().unwrap();
        assert_eq!(pool.take(outside), Err(IpamError::OutOfRange(outside)));
    }

    #[test]
    fn each_address_has_one_companion() {
        let companions = Companions::new("fd63:6f72:a80:4000::7/64").unwrap();
        let check = |address: &str, expected: Option<&str>| {
            let found = companions.of(address.parse().unwrap()).map(|ip| ip.to_string());
            assert_eq!(found.as_deref(), expected);
        };
        check("10.128.64.2", Some("fd63:6f72:a80:4000::a80:4002"));
        check("10.128.64.3", Some("fd63:6f72:a80:4000::a80:4003"));
        check("fd00::1", None);
        for text in ["", "fd00::", "10.128.0.0/18", "fd00::/97"] {
            assert_eq!(Companions::new(text), Err(IpamError::InvalidCidr6(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn ten_thousand_cycles_leak_nothing(releases in proptest::collection::vec(any::<bool>(), 1..500)) {
            let mut pool = Pool::new("10.128.0.0/26").unwrap();
            let mut held = std::collections::BTreeSet::new();
            for release in releases {
                match (release, held.first().copied()) {
                    (true, Some(address)) => { held.remove(&address); pool.release(address); }
                    (true, None) | (false, _) => match pool.allocate() {
                        Ok(address) => prop_assert!(held.insert(address), "{address} handed out twice"),
                        Err(_) => prop_assert_eq!(held.len(), 61),
                    },
                }
            }
        }
    }
}
