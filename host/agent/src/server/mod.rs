//! The agent's HTTP server on a Unix socket, with the kubelet's paths: the API server reaches logs
//! through it.
//!
//! `lines` and `select` (pure) read the CRI log format; `logs` streams files; `stats` says what is used, `configz`
//! (pure) with which settings; `routes` answers, and hands streams to `streams`.

pub(crate) mod configz;
pub mod lines;
pub(crate) mod listen;
pub(crate) mod logs;
pub(crate) mod routes;
pub mod select;
pub(crate) mod stats;

pub(crate) use listen::{Slot, listen};
