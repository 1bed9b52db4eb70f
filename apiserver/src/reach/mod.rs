//! Connections from the server to a Service: for webhooks, conversions and aggregated APIs, and to plain hosts.
//!
//! A Service has no address on this machine; its endpoints are pods, which are reached through their nodes, or addresses
//! that somebody put into EndpointSlices, which are dialled. `endpoints` says which there are, purely; `dial` opens
//! streams. Callers speak TLS on them and name the server `NAME.NAMESPACE.svc`.
//! *Source:* `ServiceReference` of `admissionregistration.k8s.io/v1`, `apiextensions.k8s.io/v1`, `apiregistration.k8s.io/v1`.

mod connector;
mod dial;
mod endpoints;

pub(crate) use connector::Connector;
pub(crate) use endpoints::{Unreachable, host_of};
