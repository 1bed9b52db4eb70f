//! The pod addresses of this node: known once the node has its range.

use std::net::IpAddr;
use std::time::Duration;

use coracle_network::ipam::Pool;
use parking_lot::Mutex;
use tokio::sync::watch;

/// How long a sandbox waits for the node's range before it is reported as failed.
const RANGE_WAIT_MAX: Duration = Duration::from_secs(30);

struct Range {
    cidr: String,
    pool: Pool,
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

    /// Sets the node's range; the same one again changes nothing.
    pub(crate) fn set(&self, cidr: &str) {
        let mut range = self.range.lock();
        if range.as_ref().is_some_and(|range| range.cidr == cidr) {
            return;
        }
        match Pool::new(cidr) {
            Ok(pool) => *range = Some(Range { cidr: cidr.to_owned(), pool }),
            Err(error) => tracing::error!(cidr, %error, "cannot use the node's pod range"),
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

    /// Takes an address back.
    pub(crate) fn release(&self, address: IpAddr) {
        if let Some(range) = self.range.lock().as_mut() {
            range.pool.release(address);
        }
    }
}
