//! Kinds that are served in a form that is not the kept one.

pub mod autoscaler;
