//! The open connections of a namespace: counted, told apart, and cut together when it ends.

use crate::netns::NetNs;
use crate::pipe::Pipe;
use crate::traffic::Traffic;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

/// A local port and the address that it talks to.
pub(crate) type Pairing = (u16, SocketAddr);

#[derive(Default)]
struct Link {
    pipes: Option<(Weak<Pipe>, Weak<Pipe>)>,
    pairing: Option<Pairing>,
}

/// The connections that one namespace takes part in.
#[derive(Default)]
pub(crate) struct Links {
    links: HashMap<u64, Link>,
    pairings: BTreeSet<Pairing>,
    next: u64,
}

impl Links {
    /// Counts one more; `pairing` is set for outgoing ones.
    pub(crate) fn add(&mut self, pairing: Option<Pairing>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.pairings.extend(pairing);
        self.links.insert(id, Link { pipes: None, pairing });
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn is_paired(&self, pairing: &Pairing) -> bool {
        self.pairings.contains(pairing)
    }

    /// Whether an outgoing connection uses the local `port`.
    pub(crate) fn is_port_used(&self, port: u16) -> bool {
        let lowest = SocketAddr::from(([0, 0, 0, 0], 0));
        self.pairings.range((port, lowest)..).next().is_some_and(|(used, _)| *used == port)
    }

    /// Forgets them all, and gives their pipes, for the caller to cut.
    pub(crate) fn take(&mut self) -> Vec<Weak<Pipe>> {
        self.pairings.clear();
        let pipes = self.links.drain().filter_map(|(_, link)| link.pipes);
        pipes.flat_map(|(rx, tx)| [rx, tx]).collect()
    }

    fn remove(&mut self, id: u64) {
        if let Some(pairing) = self.links.remove(&id).and_then(|link| link.pairing) {
            self.pairings.remove(&pairing);
        }
    }
}

/// One connection's place in its namespace; freed on drop.
pub(crate) struct Membership {
    ns: Weak<NetNs>,
    id: u64,
}

impl Membership {
    pub(crate) fn new(ns: &Arc<NetNs>, id: u64) -> Membership {
        Membership { ns: Arc::downgrade(ns), id }
    }

    /// Where the namespace counts; `None` when it has ended.
    pub(crate) fn traffic(&self) -> Option<Arc<Traffic>> {
        self.ns.upgrade().map(|ns| ns.traffic().clone())
    }

    /// Ties the pipes to it: the namespace pays for what it sends, and for what it receives from
    /// outside the fabric. They are cut at once when the namespace has ended meanwhile.
    pub(crate) fn link(&self, rx: &Arc<Pipe>, tx: &Arc<Pipe>) {
        let linked = self.ns.upgrade().is_some_and(|ns| {
            tx.pay_from(ns.budget(), true);
            rx.pay_from(ns.budget(), false);
            ns.with_links(|links| match links.links.get_mut(&self.id) {
                Some(link) => {
                    link.pipes = Some((Arc::downgrade(rx), Arc::downgrade(tx)));
                    true
                }
                None => false,
            })
        });
        if !linked {
            rx.reset_now();
            tx.reset_now();
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(ns) = self.ns.upgrade() {
            ns.with_links(|links| links.remove(self.id));
        }
    }
}
