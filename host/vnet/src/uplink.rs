//! The way out of a fabric that has no router of its own.

use crate::route::{Flow, Route, Router};
use crate::stream::VStream;
use crate::udp::DatagramSink;
use futures::future::BoxFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Stands for the rest of the network where only one namespace is: another process has the fabric on
/// which it is known to all others, and takes what leaves it.
///
/// It is not asked about loopback nor about the namespace's own addresses.
pub trait Uplink: Send + Sync {
    /// Connects `source`, an address of the namespace, to `destination` outside. Dropping the future
    /// gives up.
    ///
    /// # Errors
    /// As a connection on the other fabric would fail.
    fn connect(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> BoxFuture<'static, io::Result<VStream>>;

    /// Gives the way for datagrams from `source` to `destination`. Answers come in by
    /// [`Fabric::deliver_datagram`](crate::Fabric::deliver_datagram).
    fn datagrams(&self, source: SocketAddr, destination: SocketAddr) -> Arc<dyn DatagramSink>;

    /// The addresses at which the namespace listens or receives have changed; called without a lock
    /// held, on the thread of whoever changed them.
    fn ports_changed(&self);
}

/// The router of a fabric that has an uplink: never asked about what the uplink takes.
pub(crate) struct Nowhere;

impl Router for Nowhere {
    fn route(&self, flow: &Flow) -> Route {
        Route::Refused(format!("nothing here leads to {}", flow.destination))
    }
}
