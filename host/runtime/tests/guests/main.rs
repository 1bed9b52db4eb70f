//! Real guests, run by the real runtime.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
mod exec;
mod files;
mod http;
mod lifecycle;
mod limits;
mod logs;
mod prepare;
mod sockets;
mod toolbox;
mod world;
mod traces;
