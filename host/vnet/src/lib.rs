//! Virtual network namespaces: pipes, listeners, datagrams.
//!
//! A [`Fabric`] is one host's switch; each pod has a [`NetNs`] on it: loopback, its addresses, its
//! ports. A connection is a pair of bounded in-memory pipes ([`VStream`]). Where an address leads is
//! not decided here: the [`Router`] and the [`Resolver`] given to the fabric know Services, policies
//! and names. In come socket calls of guests and of the host; out go streams, datagrams and
//! `std::io::Error`s with the kinds that the socket API of an operating system would give.
//!
//! Never in here: wasmtime, Kubernetes, and any task, descriptor or timer for a namespace that is idle.

mod backlog;
mod budget;
mod clock;
mod dial;
mod door;
mod entrance;
mod fabric;
mod flows;
mod links;
mod listener;
mod netns;
mod overlay;
mod pipe;
mod ports;
mod resolve;
mod route;
mod scope;
mod splice;
mod stream;
mod tag;
mod traffic;
mod udp;
mod uplink;

pub use dial::Reached;
pub use entrance::serve_datagrams;
pub use fabric::{AddError, Fabric};
pub use listener::{Accept, Listener, PortGuard};
pub use netns::{BUFFER_BYTES_MAX, CONNECTIONS_MAX, NetNs, NetNsSpec};
pub use overlay::{Hop, Overlay};
pub use pipe::PIPE_BYTES_MAX;
pub use resolve::{ResolveError, Resolver};
pub use route::{Flow, Protocol, Route, Router};
pub use scope::Scope;
pub use splice::splice;
pub use stream::VStream;
pub use tag::NsTag;
pub use traffic::{Traffic, TrafficCounts};
pub use udp::{DATAGRAM_BYTES_MAX, Datagram, DatagramSink, UdpSocket};
pub use uplink::Uplink;

/// A boxed future that may move between threads.
pub use futures::future::BoxFuture;
