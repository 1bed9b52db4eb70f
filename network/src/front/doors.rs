//! The ports of this host that are open for clients, and the word of it on the Node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Client, EventKind, Failure as _, Recorder};
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::serve::{Door, accept};
use super::state::Front;

/// The annotation of a Node that says where its host listens for which port, as `80=8080,443=443`.
pub const ANNOTATION: &str = "coracle.dev/front-ports";

/// How long to wait before a port that something else holds is tried again.
const BIND_RETRY: Duration = Duration::from_secs(5);
/// Time between two tries to say where the doors are.
const TELL_RETRY: Duration = Duration::from_millis(500);
/// Doors that opened and are not yet taken note of: as many as there are ports.
const NEWS_MAX: usize = 64;

/// Where a host listens in place of the ports that need a right that it may not have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Instead {
    /// In place of 80; `None`: 80, or 8080 where that cannot be had.
    pub http: Option<u16>,
    /// In place of 443; `None`: 443, or 8443 where that cannot be had.
    pub https: Option<u16>,
}

impl Instead {
    /// The ports to try for one that clients and objects know, in order.
    #[must_use]
    pub fn candidates(&self, port: u16) -> Vec<u16> {
        match (port, self.http, self.https) {
            (80, Some(own), _) | (443, _, Some(own)) => vec![own],
            (80, None, _) => vec![80, 8080],
            (443, _, None) => vec![443, 8443],
            (other, ..) => vec![other],
        }
    }
}

/// Where the doors are: by the port that clients know, the one that is listened at.
type Bound = watch::Sender<BTreeMap<u16, u16>>;
/// Tells of a door that has opened, or (port 0) that cannot.
type Opened = mpsc::Sender<(u16, u16)>;

/// The open doors. Dropping it closes them.
pub(super) struct Doors {
    front: Arc<Front>,
    instead: Instead,
    tasks: HashMap<Door, JoinHandle<()>>,
    bound: Bound,
    opened: Opened,
    telling: JoinHandle<()>,
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
        self.telling.abort();
    }
}

/// Who says where the doors are.
pub(super) struct Teller {
    pub(super) node: String,
    pub(super) client: Client,
    pub(super) recorder: Arc<Recorder>,
}

impl Doors {
    pub(super) fn new(front: &Arc<Front>, instead: Instead, teller: Teller) -> Self {
        let (bound, told) = watch::channel(BTreeMap::new());
        let (opened, news) = mpsc::channel(NEWS_MAX);
        let telling = tokio::spawn(teller.run(told, news));
        let front = Arc::clone(front);
        Self { front, instead, tasks: HashMap::new(), bound, opened, telling }
    }

    /// Opens and closes doors until just these are open.
    pub(super) fn follow(&mut self, wanted: &BTreeSet<Door>) {
        let gone: Vec<Door> =
            self.tasks.keys().filter(|door| !wanted.contains(door)).copied().collect();
        // A door that is opened again for TLS, or without, waits until the old one is closed.
        let mut closing: HashMap<u16, JoinHandle<()>> = HashMap::new();
        for door in gone {
            let Some(task) = self.tasks.remove(&door) else { continue };
            task.abort();
            self.bound.send_modify(|all| {
                all.remove(&door.port);
            });
            closing.insert(door.port, task);
        }
        for door in wanted {
            self.tasks.entry(*door).or_insert_with(|| {
                let candidates = self.instead.candidates(door.port);
                let told = (self.bound.clone(), self.opened.clone());
                let opening = open(*door, candidates, Arc::clone(&self.front), told);
                let before = closing.remove(&door.port);
                tokio::spawn(async move {
                    if let Some(before) = before {
                        // Aborted: whatever it says, it is over.
                        let _over = before.await;
                    }
                    opening.await;
                })
            });
        }
    }
}

async fn open(
    door: Door,
    candidates: Vec<u16>,
    front: Arc<Front>,
    (bound, opened): (Bound, Opened),
) {
    let mut told = false;
    let (listener, port) = loop {
        match bind(&candidates).await {
            Ok(listening) => break listening,
            Err(error) if told => tracing::debug!(port = door.port, %error, "still not free"),
            Err(error) => {
                told = true;
                tracing::warn!(port = door.port, ?candidates, %error, "cannot listen for clients; trying again every 5 s: free one of the ports, or give this host others by --http-port and --https-port");
                say(&opened, (door.port, 0));
            }
        }
        tokio::time::sleep(BIND_RETRY).await;
    };
    tracing::info!(port = door.port, at = port, secure = door.secure, "open for clients");
    bound.send_modify(|all| {
        all.insert(door.port, port);
    });
    say(&opened, (door.port, port));
    accept(listener, door, front).await;
}

fn say(opened: &mpsc::Sender<(u16, u16)>, news: (u16, u16)) {
    if let Err(error) = opened.try_send(news) {
        tracing::debug!(%error, "too many doors to tell of each");
    }
}

/// Listens on all addresses, at the first port that can be had.
async fn bind(candidates: &[u16]) -> io::Result<(TcpListener, u16)> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for port in candidates {
        let both = TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).await;
        let listening = match both {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).await
            }
            both => both,
        };
        match listening {
            Ok(listener) => return Ok((listener, *port)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Teller {
    async fn run(
        self,
        mut told: watch::Receiver<BTreeMap<u16, u16>>,
        mut news: mpsc::Receiver<(u16, u16)>,
    ) {
        loop {
            tokio::select! {
                changed = told.changed() => match changed {
                    Ok(()) => {
                        let ports = told.borrow_and_update().clone();
                        self.annotate(&ports, &told).await;
                    }
                    Err(_closed) => return,
                },
                Some((port, at)) = news.recv() => self.note(port, at),
            }
        }
    }

    /// An event where clients have to ask at another port than they would, or cannot at all.
    fn note(&self, port: u16, at: u16) {
        if port == at {
            return;
        }
        let node = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.node.clone()),
            uid: Some(self.node.clone()),
            ..ObjectReference::default()
        };
        let message = if at == 0 {
            format!("Port {port} is not open for Ingress and Gateways: something else holds it")
        } else {
            format!("Ingress and Gateways of port {port} are served at port {at} of this host")
        };
        let kind = if at == 0 { EventKind::Warning } else { EventKind::Normal };
        self.recorder.event_about(node, kind, "FrontPort", message);
    }

    /// Says on the Node where the doors are, until it does or they are elsewhere.
    async fn annotate(
        &self,
        ports: &BTreeMap<u16, u16>,
        told: &watch::Receiver<BTreeMap<u16, u16>>,
    ) {
        let text: Vec<String> = ports.iter().map(|(port, at)| format!("{port}={at}")).collect();
        let text = (!text.is_empty()).then(|| text.join(","));
        let patch = json!({"metadata": {"annotations": {ANNOTATION: text}}});
        let api = self.client.cluster::<Node>();
        while !told.has_changed().unwrap_or(true) {
            let patched =
                api.patch(&self.node, &PatchParams::default(), &Patch::Merge(&patch)).await;
            match patched {
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(error = error.message(), "the open ports are not told yet");
                    tokio::time::sleep(TELL_RETRY).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_ports_have_others_in_their_place() {
        let check = |instead: Instead, port, wanted: &[u16]| {
            assert_eq!(instead.candidates(port), wanted, "{instead:?} {port}");
        };
        let own = Instead { http: Some(18080), https: Some(18443) };
        check(Instead::default(), 80, &[80, 8080]);
        check(Instead::default(), 443, &[443, 8443]);
        check(Instead::default(), 9000, &[9000]);
        check(own, 80, &[18080]);
        check(own, 443, &[18443]);
        check(own, 8080, &[8080]);
    }
}
