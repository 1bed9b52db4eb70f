//! What Kubernetes fills in when a user leaves it out, kind by kind.
//!
//! Each `set` works on a decoded object in place, is total, and does nothing the second time. Values
//! that depend on the cluster (addresses, service accounts, priorities) are admission's, not these.
//! *Source:* the `SetDefaults_*` functions of `pkg/apis/*/v1/defaults.go` upstream.

pub mod admission;
pub mod autoscaler;
pub mod container;
pub mod daemonset;
pub mod deployment;
pub mod endpointslice;
pub mod extension;
mod fill;
pub mod flowcontrol;
pub mod job;
pub mod limitrange;
pub mod namespace;
pub mod network;
pub mod node;
pub mod pod;
pub mod podtemplate;
pub mod priorityclass;
pub mod replicaset;
pub mod replicationcontroller;
pub mod resourceclaim;
pub mod rolebinding;
pub mod secret;
pub mod service;
pub mod statefulset;
pub mod storage;
mod volume;
pub mod volumeclaim;

#[cfg(test)]
mod tests;
