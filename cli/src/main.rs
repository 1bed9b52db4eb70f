//! The `coracle` binary: the one place where the parts are wired together.
fn main() {}
