//! The pod addresses of this node: known once the node has its ranges.

use std::net::IpAddr;
use std::time::Duration;

use coracle_network::ipam::{Companions, IpamError, Pool};
use parking_lot::Mutex;
use tokio::sync::watch;

/// How long a sandbox waits for the node's range before it is reported as failed.
const RANGE_WAIT_MAX: Duration = Duration::from_secs(30);

struct Range {
    cidrs: Vec<String>,
    pool: Pool,
    companions: Option<Companions>,
}

impl Range {
    fn of(cidrs: &[String]) -> Result<Self, IpamError> {
        let first = cidrs.first().map(String::as_str).unwrap_or_default();
        let companions = cidrs.get(1).map(|cidr| Companions::new(cidr)).transpose()?;
        Ok(Self { cidrs: cidrs.to_vec(), pool: Pool::new(first)?, companions })
    }
}

/// Hands out addresses. Shared by reference.
pub(crate) struct Addresses {
    range: Mutex<Option<Range>>,
    known: watch::Sender<bool>,
}

impl Addresses {
    pub(crate) fn new() -> Self {
        Self { range: Mutex::new(None), known: watch::Sender::new(false) }
    }

    /// Sets the node's ranges, the IPv4 one first; the same ones again change nothing.
    pub(crate) fn set(&self, cidrs: &[String]) {
        let mut range = self.range.lock();
        if range.as_ref().is_some_and(|range| range.cidrs == cidrs) {
            return;
        }
        match Range::of(cidrs) {
            Ok(new) => *range = Some(new),
            Err(error) => tracing::error!(?cidrs, %error, "cannot use the node's pod ranges"),
        }
        drop(range);
        self.known.send_replace(true);
    }

    /// Reserves an address that a pod has kept over a restart of the host.
    pub(crate) fn reserve(&self, address: IpAddr) -> bool {
        self.range.lock().as_mut().is_some_and(|range| range.pool.take(address).is_ok())
    }

    /// Gives an address; waits until the node has a range.
    pub(crate) async fn allocate(&self) -> Result<IpAddr, String> {
        let mut known = self.known.subscribe();
        let wait = tokio::time::timeout(RANGE_WAIT_MAX, known.wait_for(|known| *known)).await;
        if wait.is_err() {
            return Err(
                "the node has no spec.podCIDR yet; is the controller of node ranges running?"
                    .into(),
            );
        }
        let mut range = self.range.lock();
        let range = range.as_mut().ok_or("the node's spec.podCIDR is not a range")?;
        range.pool.allocate().map_err(|error| error.to_string())
    }

    /// All addresses of the pod that has this one: itself, and its companion where the node has an
    /// IPv6 range.
    pub(crate) fn all_of(&self, address: IpAddr) -> Vec<IpAddr> {
        let range = self.range.lock();
        let companions = range.as_ref().and_then(|range| range.companions);
        let second = companions.and_then(|companions| companions.of(address));
        std::iter::once(address).chain(second).collect()
    }

    /// Takes an address back.
    pub(crate) fn release(&self, address: IpAddr) {
        if let Some(range) = self.range.lock().as_mut() {
            range.pool.release(address);
        }
    }
}
