//! The audit log: who asked for what, and what came of it, a JSON line each.
//!
//! In: requests and their outcomes, as the policy wants them told. Out: lines of a file, in order. Off without a policy.
//! *Source:* Kubernetes, "Auditing"; `audit.k8s.io/v1`.

mod event;
mod log;
mod notes;
mod policy;
mod request;
mod source;

pub(crate) use event::{Answered, Entry};
pub use log::{AuditLog, AuditLogError};
pub(crate) use notes::Notes;
pub use policy::{AuditPolicy, AuditPolicyError};
pub(crate) use policy::{Level, Stage};
pub(crate) use source::Peer;
