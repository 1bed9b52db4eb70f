//! Errors of the virtual network in the words of `wasi:sockets`.

use coracle_vnet::ResolveError;
use std::io::{self, ErrorKind};
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;

/// What a guest is told for each kind of error. *Source:* the "References" of `wasi:sockets` 0.2
/// `tcp.wit` and `udp.wit`.
const CODES: &[(ErrorKind, ErrorCode)] = &[
    (ErrorKind::AddrInUse, ErrorCode::AddressInUse),
    (ErrorKind::AddrNotAvailable, ErrorCode::AddressNotBindable),
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
    (ErrorKind::QuotaExceeded, ErrorCode::NewSocketLimit),
    (ErrorKind::TimedOut, ErrorCode::Timeout),
    (ErrorKind::Unsupported, ErrorCode::NotSupported),
    (ErrorKind::WouldBlock, ErrorCode::WouldBlock),
];

/// The guest's code for an error of the network.
pub(super) fn code(error: &io::Error) -> ErrorCode {
    let found = CODES.iter().find(|(kind, _)| *kind == error.kind());
    found.map_or(ErrorCode::Unknown, |(_, code)| *code)
}

/// The guest's code for a failed lookup.
pub(super) fn lookup_code(error: &ResolveError) -> ErrorCode {
    match error {
        ResolveError::NotFound(_) => ErrorCode::NameUnresolvable,
        ResolveError::Temporary { .. } => ErrorCode::TemporaryResolverFailure,
        ResolveError::Refused { .. } => ErrorCode::PermanentResolverFailure,
        ResolveError::Invalid(_) => ErrorCode::InvalidArgument,
        _ => ErrorCode::Unknown,
    }
}
