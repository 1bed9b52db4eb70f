//! Every promised figure beside its reference.
fn main() {}
