//! `wasi:filesystem` on the container's file tree: one preopen, `/`.

mod error;
mod p2;
#[cfg(feature = "wasi-p3")]
mod p3;

pub use p2::add_to_linker;
#[cfg(feature = "wasi-p3")]
pub use p3::add_to_linker as add_p3_to_linker;

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

/// A file's device and inode, mixed so that the host's numbers do not show; equal for equal files.
fn mixed(identity: (u64, u64)) -> (u64, u64) {
    let (device, inode) = identity;
    let mix = |value: u64, seed: u64| {
        let value = (value ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let lower = mix(inode, mix(device, 1));
    (lower, mix(device, mix(inode, 2)))
}
