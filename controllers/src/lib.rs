//! Observed in, actions out: a folder per kind.
//!
//! Every folder has a pure `reconcile` from what was observed to what is to be done, and a `run`
//! that observes and does it. What could not be observed is unknown and never taken for absent.

pub mod bootstrap;
pub mod certificate;
pub mod claim;
pub mod clusterrole;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod garbage;
pub mod history;
pub mod job;
pub mod loadbalancer;
pub mod namespace;
pub mod node;
pub mod nodescaler;
pub mod objects;
pub mod ondemand;
pub mod podautoscaler;
pub mod podgc;
pub mod replicaset;
pub mod replicationcontroller;
pub mod resourcequota;
pub mod serviceaccount;
pub mod statefulset;
pub mod volumebinding;

mod context;
mod gather;
mod owned;
mod pods;
mod run;
mod template;
mod write;

pub use context::Config;
pub use run::{Controllers, run};
