//! The WASI interfaces that end in Coracle's own network and file tree instead of the machine's.
//!
//! They implement the traits that wasmtime-wasi generates, over our own resources. A signature there
//! names `Resource<TheirType>` for a type that only wasmtime-wasi can make; a resource is a typed
//! index into the store's table, so `ours` and `ours_owned` give the index our type. The table
//! checks the type of the entry at each use.

pub mod filesystem;
pub mod sockets;
pub(crate) mod tls;

use wasmtime::component::Resource;

/// The same index, borrowed, for an entry of our own type.
fn ours<Ours: 'static, Theirs: 'static>(resource: &Resource<Theirs>) -> Resource<Ours> {
    Resource::new_borrow(resource.rep())
}

/// The same index, owned, for an entry of another type.
fn ours_owned<Ours: 'static, Theirs: 'static>(resource: Resource<Theirs>) -> Resource<Ours> {
    Resource::new_own(resource.rep())
}
