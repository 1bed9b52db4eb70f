//! `coracle schedule`: what the scheduler thinks.

mod explain;

pub(crate) use explain::explain;
