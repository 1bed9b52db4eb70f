//! `coracle up` and `coracle down`: everything in one go, for a new user.

mod down;
mod readiness;
mod record;
mod run;
mod steps;
mod urls;

pub(crate) use down::down;
pub(crate) use readiness::{missing, reasons};
pub(crate) use record::remember;
pub(crate) use run::{print_access, push_file, up, wait_ready};
