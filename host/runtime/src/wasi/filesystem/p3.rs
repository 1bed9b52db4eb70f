//! `wasi:filesystem` 0.3: the generated host traits on [`FsCtx`].
//!
//! Every call acts at once, as in 0.2: the files are on local disks or in memory.

mod convert;
mod descriptor;
mod error;
mod streams;

use super::{Fs, FsCtx, FsView};
use crate::mounts::Handle;
use crate::wasi::ours_owned;
use descriptor::Entry;
use rustix::io::Errno;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p3::bindings::filesystem::preopens;
use wasmtime_wasi::p3::bindings::filesystem::types::{self, Descriptor, ErrorCode};
use wasmtime_wasi::p3::filesystem::{FilesystemError, FilesystemResult};

/// Links all interfaces of `wasi:filesystem` 0.3. A linker that has wasmtime-wasi's must allow
/// shadowing.
///
/// # Errors
/// When an interface is linked already, or the engine cannot run calls side by side.
pub fn add_to_linker<T: FsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    types::add_to_linker::<T, Fs>(linker, T::fs)?;
    preopens::add_to_linker::<T, Fs>(linker, T::fs)
}

/// Turns a result of the file tree into one for the guest.
fn told<T>(result: Result<T, Errno>) -> FilesystemResult<T> {
    result.map_err(|errno| error::code(errno).into())
}

impl preopens::Host for FsCtx<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let root = Entry::root(Handle::Dir(self.tree.root()));
        Ok(vec![(ours_owned(self.table.push(root)?), "/".to_owned())])
    }
}

impl types::Host for FsCtx<'_> {
    fn convert_error_code(&mut self, failure: FilesystemError) -> wasmtime::Result<ErrorCode> {
        failure.downcast()
    }
}
