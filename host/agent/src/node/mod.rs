//! The Node object of this host: registered, kept true, and its heartbeat.
//!
//! `facts` reads the machine, `object` (pure) makes the object and its conditions, `events` says what
//! changes, `keep` is the task.

pub(crate) mod events;
pub(crate) mod facts;
pub(crate) mod keep;
pub(crate) mod object;

pub(crate) use keep::keep;
