//! Which addresses a socket takes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Refuses an address of the other family, an IPv4 address written as IPv6, and addresses of
    /// many hosts. *Source:* `tcp.wit`, errors of `start-bind` and `start-connect`.
    pub(super) fn check(self, address: SocketAddr) -> io::Result<()> {
        let fits = match address.ip() {
            IpAddr::V4(ip) => self == Family::V4 && is_unicast(ip),
            IpAddr::V6(ip) => {
                self == Family::V6 && !ip.is_multicast() && ip.to_ipv4_mapped().is_none()
            }
        };
        if fits { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// As [`Family::check`], for the other end: it needs an address and a port.
    pub(super) fn check_remote(self, address: SocketAddr) -> io::Result<()> {
        self.check(address)?;
        if address.ip().is_unspecified() || address.port() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(())
    }
}

fn is_unicast(ip: Ipv4Addr) -> bool {
    !ip.is_multicast() && !ip.is_broadcast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_other_family_and_of_many_hosts_are_refused() {
        let check = |family: Family, text: &str| {
            family.check_remote(text.parse().expect("an address")).is_ok()
        };
        assert!(check(Family::V4, "10.0.0.1:80"));
        assert!(check(Family::V6, "[::1]:80"));
        for refused in ["0.0.0.0:80", "10.0.0.1:0", "224.0.0.1:80", "255.255.255.255:1", "[::1]:1"]
        {
            assert!(!check(Family::V4, refused), "{refused}");
        }
        for refused in ["[::]:80", "[::1]:0", "[ff02::1]:80", "[::ffff:10.0.0.1]:80", "10.0.0.1:1"]
        {
            assert!(!check(Family::V6, refused), "{refused}");
        }
    }
}
