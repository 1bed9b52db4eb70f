//! The Node object of this host: registered, kept true, and its heartbeat.
//!
//! `facts` reads the machine, `object` (pure) makes the object and its conditions, `keep` is the
//! task.

pub(crate) mod facts;
pub(crate) mod keep;
pub mod object;

pub(crate) use keep::keep;
