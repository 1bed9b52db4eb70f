//! The way out: what the fabric has for pods of other hosts.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use coracle_vnet::{BoxFuture, DatagramSink, Flow, Overlay, VStream};
use futures::FutureExt as _;
use futures::future::ready;
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::datagrams::{Flows, Outgoing, exchange};
use super::head::Head;
use super::keys::Keys;
use super::link::Link;
use super::peers::{Peer, Peers};
use super::splice::splice;

/// How long what goes to other hosts waits for this host's first certificate: a node may run pods a moment before it
/// has that.
const CERTIFICATE_MAX: Duration = Duration::from_secs(5);
/// What is said without one.
const NO_CERTIFICATE: &str =
    "this host has no certificate for the tunnel yet: is the server reachable?";

/// Carries connections of this host's pods to other hosts.
pub(super) struct Outward {
    /// The name of this host's node.
    pub(super) own: String,
    pub(super) peers: Arc<RwLock<Peers>>,
    pub(super) keys: watch::Receiver<Option<Keys>>,
    /// By node. As many as there are nodes; one that is gone is dropped with its node.
    pub(super) links: Mutex<HashMap<String, Link>>,
    /// The flows of datagrams that are open.
    pub(super) flows: Arc<Flows>,
}

impl Outward {
    fn head(&self, flow: &Flow, destination: SocketAddr) -> Head {
        // With the host's network a pod has no address of its own: it counts as a client outside.
        let from = flow.from.clone().filter(|_| self.is_own_pod(flow.source.ip()));
        Head { source: flow.source, from, destination, protocol: flow.protocol }
    }

    /// Whose pod has an address, and the link there; why not otherwise.
    fn way(&self, address: SocketAddr) -> Result<(Arc<Peer>, Link), String> {
        let owner = self.peers.read().owner(address.ip()).cloned();
        let peer = owner
            .filter(|peer| peer.node != self.own)
            .ok_or_else(|| format!("no host has a pod with the address {}", address.ip()))?;
        let link = self.links.lock().entry(peer.node.clone()).or_default().clone();
        Ok((peer, link))
    }

    /// The hosts that have said where their tunnel is, by name and in order.
    pub(super) fn reachable(&self) -> Vec<String> {
        self.peers.read().reachable().map(str::to_owned).collect()
    }

    /// Asks a host whether it is there; `None`: this one cannot ask now.
    pub(super) async fn ask(&self, node: &str) -> Option<bool> {
        let peer = self.peers.read().get(node).cloned()?;
        let keys = self.keys.borrow().clone()?;
        let link = self.links.lock().entry(peer.node.clone()).or_default().clone();
        let asked = link.ask(&peer, &keys.client).await;
        if let Err(error) = &asked {
            tracing::debug!(node, %error, "a host does not answer");
        }
        Some(asked.is_ok())
    }

    /// Drops the links to nodes that are gone.
    pub(super) fn forget(&self, node: &str) {
        self.links.lock().remove(node);
    }

    fn is_own_pod(&self, ip: IpAddr) -> bool {
        let own = self.peers.read().get(&self.own).cloned();
        own.is_none_or(|own| own.pods.iter().any(|range| range.contains(ip)))
    }
}

impl Overlay for Outward {
    fn connect(
        &self,
        flow: &Flow,
        address: SocketAddr,
        far: VStream,
    ) -> BoxFuture<'static, io::Result<()>> {
        let (peer, link) = match Outward::way(self, address) {
            Ok(way) => way,
            Err(why) => {
                let error = io::Error::new(io::ErrorKind::HostUnreachable, why);
                return ready(Err(error)).boxed();
            }
        };
        let (head, keys) = (self.head(flow, address), self.keys.clone());
        async move {
            let keys = first(keys).await?;
            let stream = link.open(&peer, &keys.client, &head).await?;
            tokio::spawn(splice(stream, far));
            Ok(())
        }
        .boxed()
    }

    fn way(&self, address: SocketAddr) -> Result<String, String> {
        let (peer, _) = Outward::way(self, address)?;
        if self.keys.borrow().is_none() {
            return Err(NO_CERTIFICATE.to_owned());
        }
        match peer.address {
            Some(at) => Ok(format!("the tunnel to node {} at {at}", peer.node)),
            None => Err(format!("node {} has not said where its tunnel is", peer.node)),
        }
    }

    fn datagrams(
        &self,
        flow: &Flow,
        address: SocketAddr,
        answers: Arc<dyn DatagramSink>,
    ) -> Option<Arc<dyn DatagramSink>> {
        let counted = self.flows.count(flow.source.ip())?;
        let way = Outward::way(self, address);
        let (peer, link) =
            way.inspect_err(|why| tracing::debug!(%address, why, "datagram dropped")).ok()?;
        let (head, keys) = (self.head(flow, address), self.keys.clone());
        let (near, outgoing) = Outgoing::new();
        tokio::spawn(async move {
            let opened = async { link.open(&peer, &first(keys).await?.client, &head).await };
            match opened.await {
                Ok(stream) => {
                    let deliver = |data| answers.send(data);
                    exchange(TokioIo::new(stream), outgoing, deliver).await;
                }
                Err(error) => tracing::debug!(%address, %error, "datagrams were not let through"),
            }
            drop(counted);
        });
        Some(Arc::new(near))
    }
}

/// The certificates of the tunnel, which a host that just joined is about to get.
async fn first(mut keys: watch::Receiver<Option<Keys>>) -> io::Result<Keys> {
    let there = tokio::time::timeout(CERTIFICATE_MAX, keys.wait_for(Option::is_some)).await;
    let keys = there.ok().and_then(|there| there.ok()?.clone());
    keys.ok_or_else(|| io::Error::new(io::ErrorKind::HostUnreachable, NO_CERTIFICATE))
}
