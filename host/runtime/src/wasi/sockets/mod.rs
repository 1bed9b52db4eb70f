//! `wasi:sockets` in the pod's virtual network namespace.

mod address;
mod error;
mod options;
mod p2;
#[cfg(feature = "wasi-p3")]
mod p3;
mod tcp_socket;

pub use p2::add_to_linker;
#[cfg(feature = "wasi-p3")]
pub use p3::add_to_linker as add_p3_to_linker;

use crate::stdio::Interrupts;
use coracle_vnet::{NetNs, Scope};
use std::sync::Arc;
use wasmtime::component::{HasData, ResourceTable};

/// What a store keeps for its sockets.
#[derive(Clone, Debug)]
pub struct NetState {
    /// The pod's namespace.
    pub ns: Arc<NetNs>,
    /// The container's share of it: its listeners report here, and drain when it says so.
    pub scope: Arc<Scope>,
    /// What lets go a guest that waits for the network.
    pub(crate) interrupts: Interrupts,
}

/// What the host functions work on, lent by the store's state.
pub struct NetCtx<'a> {
    /// The sockets' surroundings.
    pub net: &'a mut NetState,
    /// The store's resources.
    pub table: &'a mut ResourceTable,
}

/// A store state that has a network.
pub trait NetView: Send {
    /// Lends it.
    fn net(&mut self) -> NetCtx<'_>;
}

/// Ties the generated host traits to [`NetCtx`].
struct Net;

impl HasData for Net {
    type Data<'a> = NetCtx<'a>;
}
