//! Kinds that users define: what a CustomResourceDefinition says, and what follows for its objects.
//!
//! A version of a definition becomes a [`Version`]: its structural schema, which prunes, fills and
//! checks objects, its rules in CEL, and its columns. `registry` makes kinds of versions; nothing
//! here knows of requests or of storing.
//!
//! Words: a *structural schema* says of every place what type it has, so that objects can be pruned
//! and filled by it; an *embedded resource* is an object with `apiVersion`, `kind` and `metadata` of
//! its own inside of another.
//! *Source:* Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions".

mod budget;
mod check;
mod column;
mod decode;
mod fill;
mod jsonpath;
mod message;
mod pattern;
mod place;
mod prune;
mod rule;
mod schema;
mod version;

pub use budget::Budgets;
pub use column::Column;
pub use jsonpath::{JsonPath, JsonPathError};
pub use place::Place;
pub use schema::{Additional, SchemaError, Structural};
pub use version::Version;

#[cfg(test)]
mod tests;
