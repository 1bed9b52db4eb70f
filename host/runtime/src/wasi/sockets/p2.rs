//! `wasi:sockets` 0.2: the generated host traits on [`NetCtx`].

mod names;
mod streams;
mod tcp;
mod udp;

use super::address::Family;
use super::{Net, NetCtx, NetView, error};
use crate::stdio::Interrupts;
use crate::wasi::{ours, ours_owned};
use std::io;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::{
    instance_network, ip_name_lookup, network, tcp as tcp_wit, tcp_create_socket, udp as udp_wit,
    udp_create_socket,
};
use wasmtime_wasi::p2::{SocketError, SocketResult};

/// Links all interfaces of `wasi:sockets` 0.2. A linker that has wasmtime-wasi's must allow
/// shadowing.
///
/// # Errors
/// When an interface is linked already.
pub fn add_to_linker<T: NetView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    instance_network::add_to_linker::<T, Net>(linker, T::net)?;
    network::add_to_linker::<T, Net>(linker, &network::LinkOptions::default(), T::net)?;
    tcp_wit::add_to_linker::<T, Net>(linker, T::net)?;
    tcp_create_socket::add_to_linker::<T, Net>(linker, T::net)?;
    udp_wit::add_to_linker::<T, Net>(linker, T::net)?;
    udp_create_socket::add_to_linker::<T, Net>(linker, T::net)?;
    ip_name_lookup::add_to_linker::<T, Net>(linker, T::net)
}

/// The right to use the network: every container has it; where it leads is the router's decision.
struct Grant;

/// What a call says that is not done yet: a guest that was interrupted waits no longer.
fn unfinished(interrupts: &Interrupts) -> ErrorCode {
    if interrupts.is_there() { ErrorCode::ConnectionAborted } else { ErrorCode::WouldBlock }
}

/// Turns a result of the network into one for the guest.
fn told<T>(result: io::Result<T>) -> SocketResult<T> {
    result.map_err(|failure| error::code(&failure).into())
}

impl From<IpAddressFamily> for Family {
    fn from(family: IpAddressFamily) -> Family {
        match family {
            IpAddressFamily::Ipv4 => Family::V4,
            IpAddressFamily::Ipv6 => Family::V6,
        }
    }
}

impl From<Family> for IpAddressFamily {
    fn from(family: Family) -> IpAddressFamily {
        match family {
            Family::V4 => IpAddressFamily::Ipv4,
            Family::V6 => IpAddressFamily::Ipv6,
        }
    }
}

impl instance_network::Host for NetCtx<'_> {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        Ok(ours_owned(self.table.push(Grant)?))
    }
}

impl network::Host for NetCtx<'_> {
    fn convert_error_code(&mut self, failure: SocketError) -> wasmtime::Result<ErrorCode> {
        failure.downcast()
    }

    fn network_error_code(
        &mut self,
        failure: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&failure)?.downcast_ref::<io::Error>().map(error::code))
    }
}

impl network::HostNetwork for NetCtx<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Grant, _>(network))?;
        Ok(())
    }
}

impl NetCtx<'_> {
    /// Refuses a call without the right to the network.
    fn check_grant(&self, network: &Resource<Network>) -> SocketResult<()> {
        self.table.get(&ours::<Grant, _>(network))?;
        Ok(())
    }
}
