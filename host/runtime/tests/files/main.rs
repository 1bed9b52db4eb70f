//! The file tree of a container, driven by scripts: a command, then what it says.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod confinement;
mod fuzz;
mod mounts;
mod quota;
mod root;
mod script;
