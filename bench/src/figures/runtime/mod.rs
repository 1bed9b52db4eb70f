//! What the runtime alone does, embedded in this process: no API, no other host.

pub(crate) mod calls;
pub(crate) mod languages;
pub(crate) mod limits;
pub(crate) mod preempt;
pub(crate) mod sockets;
pub(crate) mod start;
mod world;
