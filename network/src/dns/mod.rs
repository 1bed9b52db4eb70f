//! Cluster DNS: a real server at the cluster's DNS address, in the network of the pods of each host.
//!
//! Comes in: questions of pods, by UDP and TCP. Goes out: records of Services from the host's own
//! [`crate::table`], and what the machine's name servers say of names outside, to pods whose egress
//! grant has the name. Nothing leaves the host for a name of the cluster.
//!
//! Words: the *zone* is what the cluster itself answers for; *upstream* are the name servers of the
//! machine; a *stub* asks a name server that a pod names in its own `dnsConfig`.
//!
//! Never in here: what a policy decides. Like every other lookup, a question to the cluster's DNS
//! address is always let through; what is told of names outside is a matter of the grant.
//!
//! *Source:* Kubernetes DNS-Based Service Discovery 1.1.0, RFC 1035, RFC 2308, RFC 6891, RFC 7766.

mod cache;
pub mod lookup;
mod message;
mod server;
mod stub;
#[cfg(test)]
mod tests;
mod upstream;
pub mod zone;

pub use server::{ServeError, Serving, serve};
