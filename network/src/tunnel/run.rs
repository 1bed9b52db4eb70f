//! Starts the tunnel of a host: listens, says where, and follows who the other hosts are.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Caches, Client, Failure as _, Subscription};
use coracle_vnet::Fabric;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use parking_lot::{Mutex, RwLock};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::PORT_ANNOTATION;
use super::accept::{Inward, accept};
use super::keys::Keys;
use super::overlay::Outward;
use super::peers::{Peers, SavedPeer};
use super::witness::Witness;
use crate::network::Network;
use crate::switch::Ranges;

/// Time between two tries to say where the tunnel is.
const RETRY: Duration = Duration::from_millis(200);
/// Changes within this time are saved together.
const SAVE_AFTER: Duration = Duration::from_millis(50);

/// How a host's tunnel is.
#[derive(Debug, Clone)]
pub struct TunnelConfig {
    /// The name of the host's node.
    pub node: String,
    /// The address of the node; the tunnel listens there alone.
    pub address: IpAddr,
    /// The port; another one is taken, and told, when something else holds it.
    pub port: u16,
    /// The ranges of the cluster.
    pub ranges: Ranges,
    /// Where the other hosts are kept, for a start without a server.
    pub file: PathBuf,
}

/// The tunnel at work. Dropping it closes its port and cuts what comes in over it.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    _nodes: Subscription,
    tasks: [JoinHandle<()>; 5],
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts the tunnel: from now on the fabric's connections to pods of other hosts go through it.
/// Before the first `keys` come nothing is let in or out. Needs a tokio runtime.
///
/// # Errors
/// When no port of the address can be listened on.
pub async fn start(
    config: TunnelConfig,
    keys: watch::Receiver<Option<Keys>>,
    (network, fabric): (&Arc<Network>, &Arc<Fabric>),
    caches: &Caches,
) -> io::Result<Running> {
    let listener = listen(&config).await?;
    let address = listener.local_addr()?;
    let known = read(&config.file);
    let peers = Arc::new(RwLock::new(Peers::default()));
    known.into_iter().for_each(|saved| peers.write().restore(saved));
    let outward = Arc::new(Outward {
        own: config.node.clone(),
        peers: Arc::clone(&peers),
        keys: keys.clone(),
        links: Mutex::new(HashMap::new()),
        flows: Arc::default(),
    });
    fabric.set_overlay(Arc::clone(&outward) as _);
    let nodes: Cache<Node> = caches.get();
    let changed = Arc::new(Notify::new());
    let following = nodes.observe({
        let (peers, changed) = (Arc::clone(&peers), Arc::clone(&changed));
        let outward = Arc::clone(&outward);
        move |change| {
            match &change.new {
                Some(node) => peers.write().set(node),
                None => {
                    peers.write().remove(&change.key.name);
                    outward.forget(&change.key.name);
                }
            }
            changed.notify_one();
        }
    });
    let inward = Inward {
        fabric: Arc::clone(fabric),
        network: Arc::clone(network),
        peers: Arc::clone(&peers),
        ranges: config.ranges,
        keys,
        flows: Arc::default(),
    };
    let witness = Witness {
        client: caches.client().clone(),
        nodes: nodes.clone(),
        outward,
        own: config.node.clone(),
    };
    let tell = tell(caches.client().clone(), nodes.clone(), config.node, address.port());
    let tasks = [
        tokio::spawn(accept(listener, Arc::new(inward))),
        tokio::spawn(tell),
        tokio::spawn(witness.clone().watch()),
        tokio::spawn(witness.renew_when_asked()),
        tokio::spawn(keep(nodes, peers, config.file, changed)),
    ];
    Ok(Running { address, _nodes: following, tasks })
}

async fn listen(config: &TunnelConfig) -> io::Result<TcpListener> {
    match TcpListener::bind((config.address, config.port)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let listener = TcpListener::bind((config.address, 0)).await?;
            let port = listener.local_addr()?.port();
            tracing::warn!(wanted = config.port, port, "the tunnel's port is taken: using another");
            Ok(listener)
        }
        other => other,
    }
}

/// Says on the Node where the tunnel is, whenever it does not say so.
async fn tell(client: Client, nodes: Cache<Node>, node: String, port: u16) {
    nodes.wait_synced().await;
    let wanted = port.to_string();
    let mut changes = nodes.subscribe();
    loop {
        let object = nodes.get(None, &node);
        let told = object.as_ref().is_none_or(|object| {
            let annotations = object.metadata.annotations.as_ref();
            annotations.and_then(|all| all.get(PORT_ANNOTATION)) == Some(&wanted)
        });
        if told {
            let _whatever = changes.next().await;
            continue;
        }
        let patch = json!({"metadata": {"annotations": {PORT_ANNOTATION: wanted}}});
        let api = client.cluster::<Node>();
        match api.patch(&node, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(fresh) => nodes.assume(fresh),
            Err(error) => {
                tracing::debug!(error = error.message(), "the tunnel's port is not told yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Keeps the file in step, once what it held has been compared with the API.
async fn keep(nodes: Cache<Node>, peers: Arc<RwLock<Peers>>, file: PathBuf, changed: Arc<Notify>) {
    nodes.wait_synced().await;
    peers.write().retain(|node| nodes.get(None, node).is_some());
    let mut before = Vec::new();
    loop {
        let saved: Vec<SavedPeer> = peers.read().saved().cloned().collect();
        if saved != before {
            if let Err(error) = write(&file, &saved).await {
                tracing::warn!(%error, file = %file.display(), "save the other hosts");
            }
            before = saved;
        }
        changed.notified().await;
        tokio::time::sleep(SAVE_AFTER).await;
    }
}

fn read(file: &PathBuf) -> Vec<SavedPeer> {
    let read = match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    read.unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "saved hosts cannot be read; waiting for the server");
        Vec::new()
    })
}

/// Writes the file, whole or not at all.
async fn write(file: &PathBuf, saved: &[SavedPeer]) -> io::Result<()> {
    let fresh = file.with_extension("new");
    tokio::fs::write(&fresh, serde_json::to_vec(saved)?).await?;
    tokio::fs::rename(fresh, file).await
}
