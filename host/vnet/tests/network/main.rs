//! The virtual network as its users see it.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod fuzz;
mod pipe;
mod real;
mod tcp;
mod udp;
mod world;
