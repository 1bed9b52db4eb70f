//! Runs WebAssembly components in a sandbox within their grants.
pub mod mounts;
pub mod wasi;
