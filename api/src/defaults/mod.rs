//! What Kubernetes fills in when a user leaves it out, kind by kind.
//!
//! Each `set` works on a decoded object in place, is total, and does nothing the second time. Values
//! that depend on the cluster (addresses, service accounts, priorities) are admission's, not these.
//! *Source:* the `SetDefaults_*` functions of `pkg/apis/*/v1/defaults.go` upstream.

pub mod container;
pub mod deployment;
pub mod endpointslice;
mod fill;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod priorityclass;
pub mod replicaset;
pub mod secret;
pub mod service;
mod volume;

#[cfg(test)]
mod tests;
