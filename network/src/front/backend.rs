//! Which port of which Service a reference means. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::routes::Backend;
use crate::table::ServiceKey;

/// Looks a Service up; `None` if there is none of the name.
pub type Services<'a> = dyn Fn(&ServiceKey) -> Option<Arc<Service>> + 'a;

/// How a port is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortRef<'a> {
    /// By its number.
    Number(i32),
    /// By its name.
    Name(&'a str),
}

/// Why a reference leads to no backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoBackend {
    /// There is no such Service.
    #[error("there is no Service {0}")]
    NoService(ServiceKey),
    /// It has no such TCP port.
    #[error("Service {0} has no such TCP port")]
    NoPort(ServiceKey),
}

/// Finds the port of a Service. `http2`: whoever refers to it speaks HTTP/2 whatever the port says.
///
/// *Source:* KEP-3726 for `appProtocol`.
///
/// # Errors
/// [`NoBackend`].
pub fn resolve(
    services: &Services<'_>,
    key: ServiceKey,
    port: PortRef<'_>,
    http2: bool,
) -> Result<Backend, NoBackend> {
    let Some(service) = services(&key) else { return Err(NoBackend::NoService(key)) };
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let mut tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|text| text == "TCP"));
    let is_meant = |one: &&ServicePort| match port {
        PortRef::Number(number) => one.port == number,
        PortRef::Name(name) => one.name.as_deref() == Some(name),
    };
    let found = tcp.find(is_meant).and_then(|one| {
        let http2 = http2 || one.app_protocol.as_deref().is_some_and(speaks_http2);
        Some((u16::try_from(one.port).ok()?, http2))
    });
    match found {
        Some((port, http2)) => Ok(Backend { service: key, port, http2, filters: Vec::new() }),
        None => Err(NoBackend::NoPort(key)),
    }
}

fn speaks_http2(protocol: &str) -> bool {
    matches!(protocol, "kubernetes.io/h2c" | "h2c" | "grpc")
}
