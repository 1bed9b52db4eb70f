//! Reaching the API, caches, and driving a pure reconcile.
//!
//! Comes in: a kubeconfig or an in-process service. Goes out: typed requests ([`Client`]), shared
//! snapshots that follow the API ([`Cache`]), a queue of keys that runs a reconcile ([`drive()`]),
//! Events ([`Recorder`]) and leadership ([`Lease`]). What an object means never belongs here.

pub mod cache;
pub mod caches;
pub mod client;
pub mod drive;
pub mod events;
pub mod lean;
pub mod lease;

pub use cache::{Cache, Change, Changes, Index, Object, Scope, Subscription, Trim};
pub use caches::Caches;
pub use client::{Client, ClientError, Failure};
pub use coracle_api::key::ObjectKey;
pub use drive::{Drive, Outcome, Queue, drive};
pub use events::{EventKind, Recorder};
pub use lease::{Lease, LeaseConfig};
