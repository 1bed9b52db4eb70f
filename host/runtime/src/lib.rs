//! Runs WebAssembly components in a sandbox within their grants.
