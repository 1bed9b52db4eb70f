//! Connections between pods of different hosts.
//!
//! Comes in: connections that the fabric has for pods of other hosts, and connections of other
//! hosts. Goes out: streams, each in one HTTP/2 CONNECT over mutual TLS (HBONE, as Istio's ambient
//! mesh has it), many on one connection for each pair of hosts and direction.
//!
//! Who the peer is, its certificate says; which pods it may speak for, the Node object of that name
//! does ([`admit`]). Flow control, windows and keep-alive are those of HTTP/2.
//!
//! Words: a *peer* is another host of the cluster; a *link* is the connection to one; a *head* is
//! what is said of a stream before its bytes.

mod accept;
pub mod admit;
mod capsule;
mod datagrams;
mod doubt;
pub mod head;
pub mod keys;
mod link;
mod overlay;
pub mod peers;
pub mod reach;
mod run;
mod splice;
mod witness;

pub(crate) use link::Forbidden;

pub use keys::{KeyError, Keys, Pem};
pub use run::{Running, TunnelConfig, start};

#[cfg(test)]
mod tests;

/// The annotation of a Node by which peers find its tunnel.
pub const PORT_ANNOTATION: &str = "coracle.dev/tunnel-port";
