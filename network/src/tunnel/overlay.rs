//! The way out: what the fabric has for pods of other hosts.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use coracle_vnet::{BoxFuture, Flow, Overlay, VStream};
use futures::FutureExt as _;
use futures::future::ready;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::head::Head;
use super::keys::Keys;
use super::link::Link;
use super::peers::Peers;
use super::splice::splice;

/// Carries connections of this host's pods to other hosts.
pub(super) struct Outward {
    /// The name of this host's node.
    pub(super) own: String,
    pub(super) peers: Arc<RwLock<Peers>>,
    pub(super) keys: watch::Receiver<Option<Keys>>,
    /// By node. As many as there are nodes; one that is gone is dropped with its node.
    pub(super) links: Mutex<HashMap<String, Link>>,
}

impl Outward {
    /// Drops the links to nodes that are gone.
    pub(super) fn forget(&self, node: &str) {
        self.links.lock().remove(node);
    }
}

impl Overlay for Outward {
    fn connect(
        &self,
        flow: &Flow,
        address: SocketAddr,
        far: VStream,
    ) -> BoxFuture<'static, io::Result<()>> {
        let owner = self.peers.read().owner(address.ip()).cloned();
        let Some(peer) = owner.filter(|peer| peer.node != self.own) else {
            let why = format!("no host has a pod with the address {}", address.ip());
            return ready(Err(io::Error::new(io::ErrorKind::HostUnreachable, why))).boxed();
        };
        let Some(keys) = self.keys.borrow().clone() else {
            let why = "this host has no certificate for the tunnel yet: is the server reachable?";
            return ready(Err(io::Error::new(io::ErrorKind::HostUnreachable, why))).boxed();
        };
        let link = self.links.lock().entry(peer.node.clone()).or_default().clone();
        let head = Head { source: flow.source, from: flow.from.clone(), destination: address };
        async move {
            let stream = link.open(&peer, &keys.client, &head).await?;
            tokio::spawn(splice(stream, far));
            Ok(())
        }
        .boxed()
    }
}
