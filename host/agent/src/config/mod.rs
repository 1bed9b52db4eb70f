//! What a container is told by its pod: environment, command line, and the objects these name.
//!
//! Pure: the objects have been fetched before, as [`Objects`]. Never here: IO, clock.

pub mod argv;
pub mod dns;
pub mod env;
pub mod expand;
pub mod fields;
pub mod objects;
pub mod services;
pub mod tokens;

pub use objects::{Data, ObjectKind, ObjectRef, Objects};

#[cfg(test)]
mod tests;
