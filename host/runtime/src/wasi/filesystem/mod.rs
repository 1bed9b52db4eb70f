//! `wasi:filesystem` on the container's file tree: one preopen, `/`.

mod error;
mod p2;

pub use p2::add_to_linker;

use crate::mounts::Tree;
use wasmtime::component::{HasData, ResourceTable};

/// What the host functions work on, lent by the store's state.
pub struct FsCtx<'a> {
    /// This instance's view of the container's files.
    pub tree: &'a mut Tree,
    /// The store's resources.
    pub table: &'a mut ResourceTable,
}

/// A store state that has files.
pub trait FsView: Send {
    /// Lends them.
    fn fs(&mut self) -> FsCtx<'_>;
}

/// Ties the generated host traits to [`FsCtx`].
struct Fs;

impl HasData for Fs {
    type Data<'a> = FsCtx<'a>;
}
