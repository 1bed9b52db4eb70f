//! Coracle: Kubernetes manifests on WebAssembly components, in one binary.
fn main() {}
