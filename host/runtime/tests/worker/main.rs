//! The tests of the default class, with each pod in a process of its own, and those of that process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod class;
#[path = "../guests/command.rs"]
mod command;
mod crash;
#[path = "../guests/exec.rs"]
mod exec;
#[path = "../guests/files.rs"]
mod files;
#[path = "../guests/http.rs"]
mod http;
#[path = "../guests/kept.rs"]
mod kept;
#[path = "../guests/lifecycle.rs"]
mod lifecycle;
#[path = "../guests/limits.rs"]
mod limits;
#[path = "../guests/logs.rs"]
mod logs;
#[cfg(feature = "wasi-p3")]
#[path = "../guests/p3.rs"]
mod p3;
#[path = "../guests/redis.rs"]
mod redis;
#[path = "../guests/sockets.rs"]
mod sockets;
#[path = "../guests/terminal.rs"]
mod terminal;
#[path = "../guests/world.rs"]
mod world;
