//! Pods in a process of their own.
//!
//! A *worker* is a process that holds one pod's network namespace and the stores of its containers,
//! and runs them with the same code as a host does in its own process. What it may not do itself, its
//! host does for it: open files (`outside`'s file server), reach the rest of the network, look names
//! up, find programs, write logs. The README of this folder tells the whole.
//!
//! `inside` is the worker's side, `outside` the host's, `link` the socket between them, `wire` what
//! they say to each other, and `confine` what a worker gives up.

mod calls;
mod confine;
mod inside;
mod link;
mod outside;
mod wire;

pub use confine::confine;
pub use inside::child_main;
pub use outside::Workers;
pub(crate) use outside::{Remote, WorkerPod};
