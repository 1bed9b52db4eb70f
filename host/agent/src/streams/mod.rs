//! Streams between a client and a pod: `exec`, `attach`, port-forward.
//!
//! The API server passes a client's connection on byte for byte, so that the protocols are spoken
//! here alone. `handshake` agrees with the client; `websocket` and `spdy` carry channels; `command`
//! and `portforward` say what the channels are for; `routes` finds the pod. Never here: what may be
//! done by whom, which the API server has decided.

mod channel;
pub(crate) mod command;
mod handshake;
mod idle;
pub(crate) mod logs;
pub(crate) mod portforward;
pub(crate) mod routes;
pub mod spdy;
pub mod websocket;
