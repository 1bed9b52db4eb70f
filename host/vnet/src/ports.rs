//! Which addresses and ports of a namespace are taken.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Ports given to sockets that ask for any. *Source:* Linux `ip_local_port_range`.
const EPHEMERAL_FIRST: u16 = 32768;
const EPHEMERAL_COUNT: u16 = 60999 - EPHEMERAL_FIRST + 1;

/// A table of bound addresses. IPv4 and IPv6 do not meet: WASI sockets are never dual-stack.
pub(crate) struct PortTable<T> {
    slots: HashMap<(bool, u16), Vec<(IpAddr, T)>>,
    next: u16,
}

impl<T> Default for PortTable<T> {
    fn default() -> PortTable<T> {
        PortTable { slots: HashMap::new(), next: 0 }
    }
}

fn key(address: SocketAddr) -> (bool, u16) {
    (address.is_ipv6(), address.port())
}

impl<T> PortTable<T> {
    /// Takes `address`, or any free port of it when its port is 0. `taken` names ports that are
    /// used in another way and must not be chosen.
    pub(crate) fn bind(
        &mut self,
        address: SocketAddr,
        value: T,
        taken: impl Fn(u16) -> bool,
    ) -> io::Result<SocketAddr> {
        let port = match address.port() {
            0 => self.choose(|table, port| {
                !taken(port) && table.is_free(SocketAddr::new(address.ip(), port))
            })?,
            port if self.is_free(address) => port,
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        };
        let address = SocketAddr::new(address.ip(), port);
        self.slots.entry(key(address)).or_default().push((address.ip(), value));
        Ok(address)
    }

    /// The next port of the ephemeral range that `fits`.
    ///
    /// # Errors
    /// `AddrInUse` when none does.
    pub(crate) fn choose(&mut self, fits: impl Fn(&Self, u16) -> bool) -> io::Result<u16> {
        for _ in 0..EPHEMERAL_COUNT {
            let port = EPHEMERAL_FIRST + self.next;
            self.next = (self.next + 1) % EPHEMERAL_COUNT;
            if fits(self, port) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Whether nothing holds `address`: an unspecified address meets every other one of its port.
    pub(crate) fn is_free(&self, address: SocketAddr) -> bool {
        self.slots.get(&key(address)).is_none_or(|slots| {
            !slots.iter().any(|(ip, _)| {
                *ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified()
            })
        })
    }

    /// Whether any address of the port is held, in either family.
    pub(crate) fn is_port_used(&self, port: u16) -> bool {
        self.slots.contains_key(&(false, port)) || self.slots.contains_key(&(true, port))
    }

    /// What answers at `destination`: its own address first, then the unspecified one.
    pub(crate) fn find(&self, destination: SocketAddr) -> Option<&T> {
        let slots = self.slots.get(&key(destination))?;
        let exact = slots.iter().find(|(ip, _)| *ip == destination.ip());
        exact.or_else(|| slots.iter().find(|(ip, _)| ip.is_unspecified())).map(|(_, value)| value)
    }

    /// Every bound address and what it was bound to, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SocketAddr, &T)> {
        self.slots.iter().flat_map(|((_, port), slots)| {
            slots.iter().map(|(ip, value)| (SocketAddr::new(*ip, *port), value))
        })
    }

    /// What was bound to exactly `address`.
    pub(crate) fn get_mut(&mut self, address: SocketAddr) -> Option<&mut T> {
        let slots = self.slots.get_mut(&key(address))?;
        slots.iter_mut().find(|(ip, _)| *ip == address.ip()).map(|(_, value)| value)
    }

    /// Frees exactly `address`, and gives what was there.
    pub(crate) fn release(&mut self, address: SocketAddr) -> Option<T> {
        let slots = self.slots.get_mut(&key(address))?;
        let index = slots.iter().position(|(ip, _)| *ip == address.ip())?;
        let (_, value) = slots.swap_remove(index);
        if slots.is_empty() {
            self.slots.remove(&key(address));
        }
        Some(value)
    }

    /// Frees everything, and gives what was there.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.slots.drain().flat_map(|(_, slots)| slots).map(|(_, value)| value).collect()
    }
}
