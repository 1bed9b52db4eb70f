//! `wasi:io/error`: what a guest is told of a stream's failure.
//!
//! wasmtime's own answer is for who debugs the host: with `RUST_BACKTRACE` set it has the host's stack,
//! with the paths and the addresses of its code, which are none of a guest's business.
//!
//! *Source:* `wasi:io@0.2`, `to-debug-string`.

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi_io::IoView;
use wasmtime_wasi_io::bindings::wasi::io::error;
use wasmtime_wasi_io::streams::Error;

/// Puts `wasi:io/error` into a linker, in the place of wasmtime's own.
pub(crate) fn add_to_linker<T: IoView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    error::add_to_linker::<T, Faults>(linker, |state| Faulty(state.table()))
}

struct Faults;

impl HasData for Faults {
    type Data<'a> = Faulty<'a>;
}

/// What [`Faults`] lends.
struct Faulty<'a>(&'a mut ResourceTable);

impl error::Host for Faulty<'_> {}

impl error::HostError for Faulty<'_> {
    fn drop(&mut self, error: Resource<Error>) -> wasmtime::Result<()> {
        self.0.delete(error).map(drop).map_err(Into::into)
    }

    fn to_debug_string(&mut self, error: Resource<Error>) -> wasmtime::Result<String> {
        // What it says and its causes, in a line.
        Ok(format!("{:#}", self.0.get(&error)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::HostError as _;

    #[test]
    fn a_guest_is_told_the_causes_in_one_line() {
        let mut table = ResourceTable::new();
        let cause = std::io::Error::other("the disk is gone");
        let fault = table.push(Error::new(cause).context("write")).unwrap();
        let told = Faulty(&mut table).to_debug_string(Resource::new_borrow(fault.rep()));
        assert_eq!(told.unwrap(), "write: the disk is gone");
        error::HostError::drop(&mut Faulty(&mut table), fault).unwrap();
        assert!(table.is_empty());
    }
}
