//! The node agent: makes this node's pods true.
//!
//! Comes in: the pods bound to this node and the objects they name, followed through `client`. Goes
//! out: sandboxes and containers by a [`runtime::Runtime`], and what became of them as pod status,
//! Events, the Node object and its Lease. `pods`, `config`, `volumes::payload` and `images::manifest`
//! decide and are pure; `agent` is the loop that owns all state, `effects` acts. Never here: wasmtime,
//! sockets of guests, routing.

pub mod run;
pub mod settings;

pub mod checkpoint;
pub mod config;
pub mod eviction;
pub mod images;
pub mod node;
pub mod pods;
pub mod requests;
pub mod runtime;
pub mod server;
pub mod streams;
pub mod volumes;

mod addresses;
mod admission;
mod agent;
mod claims;
mod clock;
mod effects;
mod manifests;
mod objects;
mod record;
mod tokens;
mod turns;
mod worker;

pub use run::{AgentError, Parts, run};
pub use settings::{AgentConfig, Services, Surroundings};
