//! What the side-cars have in common: HTTP on the pod's own loopback, and requests to the API with the
//! pod's own token.

pub mod api;
pub mod local;

/// A variable of the environment; `default` when it is not set or empty.
pub fn variable(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}
