//! A range of addresses, `address/bits`.

use std::net::IpAddr;

/// A CIDR range of IPv4 or IPv6 addresses; host bits of the start do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    start: IpAddr,
    bits: u8,
}

impl Cidr {
    /// The range of the addresses that share the first `bits` bits with `start`; `None` if there
    /// are more bits than the address has.
    #[must_use]
    pub fn new(start: IpAddr, bits: u8) -> Option<Self> {
        (bits <= if start.is_ipv4() { 32 } else { 128 }).then_some(Self { start, bits })
    }

    /// Parses `address/bits`; a single address is a range of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            Some((address, bits)) => Self::new(address.parse().ok()?, bits.parse().ok()?),
            None => {
                let address: IpAddr = text.parse().ok()?;
                Self::new(address, if address.is_ipv4() { 32 } else { 128 })
            }
        }
    }

    /// The address that it was made with.
    #[must_use]
    pub fn start(&self) -> IpAddr {
        self.start
    }

    /// How many leading bits its addresses share.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Parses ranges separated by commas: at most one of IPv4 and one of IPv6, in any order.
    #[must_use]
    pub fn parse_families(text: &str) -> Option<Vec<Self>> {
        let ranges: Vec<Self> =
            text.split(',').map(|range| Self::parse(range.trim())).collect::<Option<_>>()?;
        let of_family = |v4: bool| ranges.iter().filter(|r| r.start.is_ipv4() == v4).count();
        (of_family(true) <= 1 && of_family(false) <= 1).then_some(ranges)
    }

    /// Whether `address` lies in the range; an IPv4 address in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (address, start) = match (address.to_canonical(), self.start) {
            (IpAddr::V4(address), IpAddr::V4(start)) => {
                (u128::from(address.to_bits()) << 96, u128::from(start.to_bits()) << 96)
            }
            (IpAddr::V6(address), IpAddr::V6(start)) => (address.to_bits(), start.to_bits()),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        self.bits == 0 || (address ^ start) >> (128 - u32::from(self.bits)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_both_families_are_one_of_each() {
        let count = |text: &str| Cidr::parse_families(text).map(|ranges| ranges.len());
        assert_eq!(count("10.128.0.0/9"), Some(1));
        assert_eq!(count("10.128.0.0/9, fd63:6f72::/32"), Some(2));
        for wrong in ["", "10.128.0.0/9,", "10.0.0.0/9,10.128.0.0/9", "fd00::/8,fd01::/16", "x/8"] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
    }
}
