//! Real guests, run by the real runtime.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod class;
mod command;
mod exec;
mod files;
mod http;
mod kept;
mod lifecycle;
mod limits;
mod logs;
#[cfg(feature = "wasi-p3")]
mod p3;
mod prepare;
mod redis;
mod sockets;
mod terminal;
mod tls;
mod toolbox;
mod traces;
mod world;
