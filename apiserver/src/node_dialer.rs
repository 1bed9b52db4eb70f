//! How the server reaches a node's agent, for logs and the node proxy.

use std::io;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Opens byte streams to the agents of nodes; the agent speaks HTTP/1.1 on them, with the kubelet's own paths.
pub trait NodeDialer: Send + Sync {
    /// Opens a stream to the agent of a node.
    ///
    /// # Errors
    /// When the node is not known or cannot be reached; the text becomes part of the client's error.
    fn dial<'a>(&'a self, node: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>>;

    /// Takes a connection that a node's host has made to be reached by, and keeps it until it ends.
    /// Who does not reach nodes that way closes it, as it is by default.
    fn attach<'a>(&'a self, node: &'a str, stream: Box<dyn Duplex>) -> BoxFuture<'a, ()> {
        tracing::debug!(node, "a host's connection is not wanted");
        drop(stream);
        Box::pin(std::future::ready(()))
    }
}

/// The protocol, in TLS's ALPN, of a connection that a host makes to be reached by.
pub(crate) const HOST_PROTOCOL: &[u8] = b"coracle-host";

/// A dialer for nodes that are this machine: every node's agent is the one behind one Unix socket.
#[derive(Clone, Debug)]
pub struct UnixSocketDialer {
    socket: std::path::PathBuf,
}

impl UnixSocketDialer {
    /// Dials this socket, whatever the node; `<data_dir>/agent.sock` on one machine.
    pub fn new(socket: impl Into<std::path::PathBuf>) -> UnixSocketDialer {
        UnixSocketDialer { socket: socket.into() }
    }
}

impl NodeDialer for UnixSocketDialer {
    fn dial<'a>(&'a self, _node: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        Box::pin(async move {
            let stream = tokio::net::UnixStream::connect(&self.socket).await?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    }
}

/// A dialer for a server without nodes.
#[derive(Clone, Copy, Debug)]
pub struct NoNodes;

impl NodeDialer for NoNodes {
    fn dial<'a>(&'a self, node: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        let error = io::Error::new(
            io::ErrorKind::NotConnected,
            format!("node {node:?} has no agent connected"),
        );
        Box::pin(async move { Err(error) })
    }
}
