//! Hostile components, guests and images against the real runtime, network and image store.
//!
//! Each case says what must become of it: an exit, a refusal, or that it still runs and can be
//! killed. After each, a neighbour of another pod answers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod binaries;
mod calls;
mod files;
mod images;
mod layers;
mod network;
mod registry;
mod requests;
mod resources;
mod sandbox;
mod storm;
mod world;
