//! House rules as a test: what `cargo test` refuses, each with its cure.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod arrows;
mod book;
mod ci;
mod coverage;
mod errors;
mod events;
mod files;
mod source;
mod tree;
