//! Runs WebAssembly components in a sandbox within their grants.
//!
//! In come images, specifications of containers and a network namespace; out come exits, usage,
//! log files and answered requests. An [`Engine`] prepares an [`Image`] once; a [`Sandbox`] is what
//! the containers of one pod share; a [`Container`] is one run in it. Nothing here knows of
//! Kubernetes, so that a program that embeds guests of its customers can use this crate alone.
//!
//! What a guest does wrong ends in its container's [`Exit`] or in one answered request, never in a
//! panic of the host.

pub mod call;
mod command;
pub mod compile;
mod config;
mod container;
mod engine;
pub mod exec;
mod exit;
pub mod http;
mod image;
mod interrupt;
mod latency;
mod lifecycle;
mod logs;
mod mapped;
mod memory;
mod meter;
pub mod mounts;
#[cfg(feature = "wasi-p3")]
mod p3;
mod prepare;
mod sandbox;
mod spec;
mod stdio;
mod store;
mod ticker;
pub mod wasi;
pub mod worker;

pub use compile::cache::CacheError;
pub use container::Container;
pub use engine::{CompileLimits, Compiler, Engine, EngineConfig, EngineError, INSTANCES_MAX};
pub use exec::{Attached, Exec, ExecError, ExecHandle, ExecSpec, Programs};
pub use exit::{Exit, ExitReason};
pub use image::{ComponentKind, Image, ImageSource, Wasm};
pub use latency::{ANSWER_CLASSES, LATENCY_BOUNDS_SECONDS, LATENCY_BUCKETS, Latencies};
pub use meter::Throttling;
pub use prepare::{Capabilities, PrepareError, capabilities};
pub use sandbox::{Sandbox, SandboxSpec, StartError};
pub use spec::{
    ContainerSpec, Fault, FaultKind, FaultSink, HttpLimits, Isolation, Limits, LogSpec, Stdin,
    Usage,
};
