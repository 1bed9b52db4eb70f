//! What people who write guests use all day: `new`, `build`, `dev`, `test` and `doctor`.

mod build;
mod cases;
mod changes;
mod dev;
mod doctor;
mod follow;
mod images;
mod report;
mod templates;
mod test;
mod tools;

pub(crate) use build::{build, make};
pub(crate) use dev::dev;
pub(crate) use doctor::doctor;
pub(crate) use templates::create;
pub(crate) use test::test;
