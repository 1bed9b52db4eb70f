//! Port-forward: a client's connections, carried to ports of a pod.
//!
//! `pairs` (pure) joins a connection's two SPDY streams; `serve` takes a connection apart; `forward`
//! copies one forwarded connection.

mod forward;
mod pairs;
mod serve;

#[cfg(test)]
mod tests;

pub(crate) use forward::Target;
pub(crate) use serve::{SPOKEN, ports, raw, serve};
