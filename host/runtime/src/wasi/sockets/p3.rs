//! `wasi:sockets` 0.3: the generated host traits on [`NetCtx`].
//!
//! The sockets are those of 0.2; what differs is how a guest waits: calls that return later, and
//! streams that are read and written while the guest does something else.

mod names;
mod streams;
mod tcp;
mod udp;

use super::address::Family;
use super::{Net, NetCtx, NetView};
use std::io::{self, ErrorKind};
use wasmtime::component::Linker;
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup;
use wasmtime_wasi::p3::bindings::sockets::types::{self, ErrorCode, IpAddressFamily};
use wasmtime_wasi::p3::sockets::{SocketError, SocketResult};

/// Links all interfaces of `wasi:sockets` 0.3. A linker that has wasmtime-wasi's must allow
/// shadowing.
///
/// # Errors
/// When an interface is linked already, or the engine cannot run calls side by side.
pub fn add_to_linker<T: NetView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    types::add_to_linker::<T, Net>(linker, T::net)?;
    ip_name_lookup::add_to_linker::<T, Net>(linker, T::net)
}

/// What a guest is told for each kind of error. *Source:* the "Typical errors" of `wasi:sockets`
/// 0.3 `types.wit`.
const CODES: &[(ErrorKind, ErrorCode)] = &[
    (ErrorKind::AddrInUse, ErrorCode::AddressInUse),
    (ErrorKind::AddrNotAvailable, ErrorCode::AddressNotBindable),
    (ErrorKind::BrokenPipe, ErrorCode::ConnectionBroken),
    (ErrorKind::ConnectionAborted, ErrorCode::ConnectionAborted),
    (ErrorKind::ConnectionRefused, ErrorCode::ConnectionRefused),
    (ErrorKind::ConnectionReset, ErrorCode::ConnectionReset),
    (ErrorKind::HostUnreachable, ErrorCode::RemoteUnreachable),
    (ErrorKind::InvalidInput, ErrorCode::InvalidArgument),
    (ErrorKind::NetworkDown, ErrorCode::RemoteUnreachable),
    (ErrorKind::NetworkUnreachable, ErrorCode::RemoteUnreachable),
    (ErrorKind::NotConnected, ErrorCode::InvalidState),
    (ErrorKind::OutOfMemory, ErrorCode::OutOfMemory),
    (ErrorKind::PermissionDenied, ErrorCode::AccessDenied),
    (ErrorKind::TimedOut, ErrorCode::Timeout),
    (ErrorKind::Unsupported, ErrorCode::NotSupported),
];

/// The guest's code for an error of the network; one that 0.3 has no word for keeps its text.
fn code(error: &io::Error) -> ErrorCode {
    let found = CODES.iter().find(|(kind, _)| *kind == error.kind());
    found.map_or_else(|| ErrorCode::Other(Some(error.to_string())), |(_, code)| code.clone())
}

/// Turns a result of the network into one for the guest.
fn told<T>(result: io::Result<T>) -> SocketResult<T> {
    result.map_err(|failure| code(&failure).into())
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

impl types::Host for NetCtx<'_> {
    fn convert_error_code(&mut self, failure: SocketError) -> wasmtime::Result<ErrorCode> {
        failure.downcast()
    }
}
