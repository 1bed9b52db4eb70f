//! A whole cluster in one process, in a world that one number decides: server, controllers, scheduler and hosts on a
//! virtual clock, a virtual disk and a virtual network.
//!
//! In: a seed, objects, what goes wrong. Out: what became of it, the same for the same seed. `coracle simulate` asks it
//! about a user's manifests ([`forecast`]); `tests/sim` puts users, dice for faults and a model's promises around it.
//! What is real and what is a model says the README. Never here: sockets, files of the user, the machine's clock.

#[macro_use]
pub mod world;
pub mod disk;
pub mod forecast;
pub mod host;
pub mod life;
mod metrics;
pub mod net;
pub mod objects;
pub mod oracle;
pub mod os;
pub mod server;
pub mod stage;
pub mod trace;
pub mod witness;
