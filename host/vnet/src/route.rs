//! Where a connection or datagram goes: the question and its answer.

use crate::tag::NsTag;
use futures::future::BoxFuture;
use std::net::SocketAddr;

/// The transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A byte stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What a router is asked about: one new connection, or the first datagram between two addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The namespace that it starts in; `None` when the host itself starts it.
    pub from: Option<NsTag>,
    /// The address and port that it comes from.
    pub source: SocketAddr,
    /// The address and port that the guest asked for, before any translation.
    pub destination: SocketAddr,
    /// Its transport.
    pub protocol: Protocol,
}

/// A router's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a namespace of this fabric. May differ from the destination (a Service's backend); the
    /// guest goes on seeing the destination as its peer.
    Pod(SocketAddr),
    /// To a real socket of this machine's network.
    Real(SocketAddr),
    /// Nowhere. The text says why and how to mend it; the guest sees a refused connection.
    Refused(String),
}

/// Decides where flows go. Called on the guest's thread for each new connection, so it must neither
/// block nor be slow.
///
/// It is not asked about loopback nor about a namespace's own addresses, which always lead to the
/// namespace itself.
pub trait Router: Send + Sync {
    /// Answers for one flow.
    fn route(&self, flow: &Flow) -> Route;

    /// Answers anew for a TCP flow that was led to each of `refused` in vain: nobody took it there,
    /// so nothing of it was lost. By default as at first.
    fn another(&self, flow: &Flow, _refused: &[SocketAddr]) -> Route {
        self.route(flow)
    }

    /// Told that a backend, to which the router led a TCP flow, did not take it. By default it is not
    /// remembered.
    fn not_taken(&self, _backend: SocketAddr, _error: &std::io::Error) {}

    /// Told how a backend, to which the router led a request, answered: `well`, or with a failure of its own.
    /// By default it is not remembered.
    fn answered(&self, _backend: SocketAddr, _well: bool) {}

    /// Whether a TCP flow that the router refused is worth waiting for, as when its backend is being
    /// started; the flow is asked about once more, afresh, when the future ends. `refused` as in
    /// [`Router::another`]. By default it is not.
    fn starting(&self, _flow: &Flow, _refused: &[SocketAddr]) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// Whether a UDP flow that led to `backend` may go on leading there, though something changed
    /// since it was asked about. By default it is asked about anew.
    fn stays(&self, _flow: &Flow, _backend: SocketAddr) -> bool {
        false
    }
}
