//! `wasi:sockets/ip-name-lookup`.
//!
//! An edge: a lookup waits for the resolver.

use super::super::{Net, NetCtx};
use coracle_vnet::ResolveError;
use wasmtime::component::Accessor;
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::{ErrorCode, Host, HostWithStore};
use wasmtime_wasi::p3::bindings::sockets::types::IpAddress;

/// The guest's code for a failed lookup.
fn code(error: &ResolveError) -> ErrorCode {
    match error {
        ResolveError::NotFound(_) => ErrorCode::NameUnresolvable,
        ResolveError::Temporary { .. } => ErrorCode::TemporaryResolverFailure,
        ResolveError::Refused { .. } => ErrorCode::PermanentResolverFailure,
        ResolveError::Invalid(_) => ErrorCode::InvalidArgument,
        other => ErrorCode::Other(Some(other.to_string())),
    }
}

impl<T> HostWithStore<T> for Net {
    async fn resolve_addresses(
        store: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<IpAddress>, ErrorCode>> {
        let answer = store.with(|mut access| access.get().net.ns.resolve(&name)).await;
        let found = answer.map(|ips| ips.into_iter().map(IpAddress::from).collect());
        Ok(found.map_err(|failure| code(&failure)))
    }
}

impl Host for NetCtx<'_> {}
