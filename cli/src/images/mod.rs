//! Images from the developer's side: how a folder says that its images are built, and how a
//! component gets into the built-in registry.

mod build;
mod inspect;
mod name;
mod push;

pub(crate) use build::Recipe;
pub(crate) use inspect::inspect;
pub(crate) use name::{ImageName, InvalidName};
pub(crate) use push::push;
