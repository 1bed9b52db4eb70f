//! Streams between a client and a node: logs, `exec`, `attach`, port-forward, and the proxies to
//! nodes, pods and Services.
//!
//! Comes in: a request that was authorised. Goes out: the same request to the node's agent, with the
//! kubelet's own path, and whatever the agent answers. A connection that changes its protocol is
//! passed on byte for byte, so that WebSocket channels and SPDY are understood on the node alone.
//! `connect`, `container`, `links`, `options` and `target` are pure; `forward` and `splice` move bytes; `pod` and `proxy`
//! say where to. `socket` is about no node: it sends a watch over a WebSocket.

mod connect;
mod container;
mod forward;
mod links;
mod options;
mod pod;
mod proxy;
mod socket;
mod splice;
mod target;

pub(crate) use connect::{connect_options, query_of};
pub(crate) use container::container;
pub(crate) use forward::{Outgoing, STREAMS_MAX};
pub(crate) use pod::node;
pub(crate) use socket::over_websocket;
