//! How the server reaches the agents of nodes: over the connections that their hosts keep, and on
//! this machine over a socket.

use std::io;

use coracle_apiserver::{Duplex, NodeDialer, UnixSocketDialer};
use coracle_network::tunnel::reach::Reached;
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// Reaches all nodes of the cluster.
pub(crate) struct Nodes {
    local: String,
    socket: UnixSocketDialer,
    reached: Reached,
}

impl Nodes {
    /// `local`: the name of this machine's node, and its agent's socket.
    pub(crate) fn new(local: String, socket: std::path::PathBuf) -> Self {
        Self { local, socket: UnixSocketDialer::new(socket), reached: Reached::default() }
    }
}

impl NodeDialer for Nodes {
    fn dial<'a>(&'a self, node: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        if node == self.local && !self.reached.has(node) {
            return self.socket.dial(node);
        }
        let dialling = self.reached.dial(node);
        async move { dialling.await.map(|stream| Box::new(stream) as Box<dyn Duplex>) }.boxed()
    }

    fn attach<'a>(&'a self, node: &'a str, stream: Box<dyn Duplex>) -> BoxFuture<'a, ()> {
        self.reached.attach(node, stream).boxed()
    }
}
