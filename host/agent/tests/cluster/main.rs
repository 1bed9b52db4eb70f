//! The agent against the real API server, in one process: the runtime alone is scripted.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod claims;
mod commands;
mod eviction;
mod gate;
mod harness;
mod images;
mod lifecycle;
mod probes;
mod pulls;
mod restart;
mod shutdown;
mod signatures;
mod statics;
mod tokens;
mod volumes;
