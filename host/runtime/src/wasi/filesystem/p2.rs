//! `wasi:filesystem` 0.2: the generated host traits on [`FsCtx`].

mod convert;
mod descriptor;
mod directory;
mod streams;

use super::error;
use super::{Fs, FsCtx, FsView};
use crate::mounts::Handle;
use crate::wasi::{ours, ours_owned};
use descriptor::Entry;
use rustix::io::Errno;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{self, Descriptor, ErrorCode};
use wasmtime_wasi::p2::{FsError, FsResult};

/// Links all interfaces of `wasi:filesystem` 0.2. A linker that has wasmtime-wasi's must allow
/// shadowing.
///
/// # Errors
/// When an interface is linked already.
pub fn add_to_linker<T: FsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    types::add_to_linker::<T, Fs>(linker, T::fs)?;
    preopens::add_to_linker::<T, Fs>(linker, T::fs)
}

/// Turns a result of the file tree into one for the guest.
fn told<T>(result: Result<T, Errno>) -> FsResult<T> {
    result.map_err(|errno| error::code(errno).into())
}

impl preopens::Host for FsCtx<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let root = Entry::root(Handle::Dir(self.tree.root()));
        Ok(vec![(ours_owned(self.table.push(root)?), "/".to_owned())])
    }
}

impl types::Host for FsCtx<'_> {
    fn convert_error_code(&mut self, failure: FsError) -> wasmtime::Result<ErrorCode> {
        failure.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        failure: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        let failure = self.table.get(&failure)?;
        let errno = failure.downcast_ref::<std::io::Error>().and_then(Errno::from_io_error);
        Ok(errno.map(error::code))
    }
}

impl FsCtx<'_> {
    fn entry(&self, descriptor: &Resource<Descriptor>) -> FsResult<&Entry> {
        Ok(self.table.get(&ours(descriptor))?)
    }
}
