//! The WASI interfaces that end in Coracle's own network and file tree instead of the machine's.
//!
//! They implement the traits that wasmtime-wasi generates, over our own resources. A signature there
//! names `Resource<TheirType>` for a type that only wasmtime-wasi can make; a resource is a typed
//! index into the store's table, so `ours` and `ours_owned` give the index our type. The table
//! checks the type of the entry at each use.
//!
//! Beside them the standard interfaces that are drafts still: `config`, `keyvalue` and `blobstore` keep
//! their things as files in places that the guest was granted ([`Service`]), `logging` writes into the
//! container's log. They are linked by name, each draft that is in use.
//!
//! [`Service`]: crate::mounts::Service

pub(crate) mod blobstore;
pub(crate) mod config;
pub(crate) mod fault;
pub mod filesystem;
mod kept;
pub(crate) mod keyvalue;
pub(crate) mod logging;
pub mod sockets;
pub(crate) mod tls;

use wasmtime::component::{Linker, Resource};

use crate::store::State;

/// Puts the drafts into a linker.
pub(crate) fn add_drafts_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    config::add_to_linker(linker)?;
    keyvalue::add_to_linker(linker)?;
    blobstore::add_to_linker(linker)?;
    logging::add_to_linker(linker)
}

/// Whether an import is an interface of a draft that is provided.
pub(crate) fn is_draft(import: &str) -> bool {
    let of = |names: &[&str]| names.contains(&import);
    import == tls::INTERFACE
        || of(&config::INTERFACES)
        || of(&keyvalue::INTERFACES)
        || of(&blobstore::INTERFACES)
        || of(&logging::INTERFACES)
}

/// Gives the guest what was made for it; the outer error is that it holds too much already.
fn entered<T: Send + 'static, E>(
    state: &mut State,
    made: Result<T, E>,
) -> wasmtime::Result<Result<Resource<T>, E>> {
    Ok(match made {
        Ok(made) => Ok(state.table.push(made)?),
        Err(error) => Err(error),
    })
}

/// The same index, borrowed, for an entry of our own type.
fn ours<Ours: 'static, Theirs: 'static>(resource: &Resource<Theirs>) -> Resource<Ours> {
    Resource::new_borrow(resource.rep())
}

/// The same index, owned, for an entry of another type.
fn ours_owned<Ours: 'static, Theirs: 'static>(resource: Resource<Theirs>) -> Resource<Ours> {
    Resource::new_own(resource.rep())
}
