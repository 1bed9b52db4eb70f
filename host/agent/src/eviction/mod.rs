//! Ends pods that take more than is theirs, and says when the machine runs short.
//!
//! Comes in: what each pod has on disk and in memory (`measure`), and what the machine has left. Goes
//! out: pods condemned with the kubelet's words, and the node's pressure conditions. `limits`,
//! `thresholds`, `signals` and `rank` are pure; `run` is the task that looks every few seconds. Never
//! here: what becomes of a condemned pod (the loop's).
//!
//! *Source:* Kubernetes docs, "Node-pressure Eviction"; the sentences are the kubelet's.

pub(crate) mod limits;
pub(crate) mod measure;
pub(crate) mod rank;
pub(crate) mod run;
pub(crate) mod signals;
pub mod thresholds;

pub(crate) use run::{Pressure, follow};
