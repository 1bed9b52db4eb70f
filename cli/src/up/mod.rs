//! `coracle up` and `coracle down`: everything in one go, for a new user.

mod down;
mod readiness;
mod record;
mod run;
mod urls;

pub(crate) use down::down;
pub(crate) use run::{push_file, up};
