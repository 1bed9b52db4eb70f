//! The node agent: makes this node's pods true.

pub mod config;
pub mod images;
pub mod pods;
pub mod runtime;
pub mod volumes;
