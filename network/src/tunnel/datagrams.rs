//! One flow of datagrams over a stream of the tunnel.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coracle_vnet::DatagramSink;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::capsule;

/// Datagrams that wait for their stream; one more is dropped, as networks do.
const WAITING_MAX: usize = 64;
/// A flow that is silent for so long is closed: longer than the 30 s that a socket remembers it.
const IDLE: Duration = Duration::from_secs(40);
/// Flows of one address to other hosts; each is a stream of a link that all pods share. Datagrams of
/// one more are dropped.
pub(super) const FLOWS_MAX: usize = 1024;

/// The near end of a flow.
pub(super) struct Outgoing(mpsc::Sender<Bytes>);

impl Outgoing {
    /// A near end, and where its datagrams come out.
    pub(super) fn new() -> (Self, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }
}

impl DatagramSink for Outgoing {
    fn send(&self, data: Bytes) -> bool {
        !matches!(self.0.try_send(data), Err(mpsc::error::TrySendError::Closed(_)))
    }
}

/// Counts the flows of each address.
#[derive(Debug, Default)]
pub(super) struct Flows(Mutex<HashMap<IpAddr, usize>>);

/// One flow that is counted until it is dropped.
pub(super) struct Counted {
    flows: Arc<Flows>,
    ip: IpAddr,
}

impl Flows {
    /// Counts one more flow of an address; `None` when it has as many as it may.
    pub(super) fn count(self: &Arc<Self>, ip: IpAddr) -> Option<Counted> {
        let mut all = self.0.lock();
        let count = all.entry(ip).or_default();
        if *count >= FLOWS_MAX {
            return None;
        }
        *count += 1;
        Some(Counted { flows: Arc::clone(self), ip })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.flows.0.lock();
        if let Some(count) = all.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.ip);
            }
        }
    }
}

/// Moves datagrams both ways until either side ends, `deliver` says that nobody takes them any more,
/// or nothing moved for a while.
pub(super) async fn exchange(
    io: impl AsyncRead + AsyncWrite,
    mut outgoing: mpsc::Receiver<Bytes>,
    deliver: impl Fn(Bytes) -> bool,
) {
    let (mut read, mut write) = tokio::io::split(io);
    let moved = AtomicU64::new(0);
    let writing = async {
        let mut buffer = BytesMut::new();
        while let Some(data) = outgoing.recv().await {
            moved.fetch_add(1, Ordering::Relaxed);
            buffer.clear();
            capsule::put(&data, &mut buffer);
            write.write_all(&buffer).await?;
            write.flush().await?;
        }
        io::Result::Ok(())
    };
    let reading = async {
        let mut buffer = BytesMut::new();
        while read.read_buf(&mut buffer).await? > 0 {
            while let Some(data) = capsule::take(&mut buffer).map_err(io::Error::other)? {
                moved.fetch_add(1, Ordering::Relaxed);
                if !deliver(data) {
                    return Ok(());
                }
            }
        }
        io::Result::Ok(())
    };
    let idle = async {
        let mut before = u64::MAX;
        loop {
            let now = moved.load(Ordering::Relaxed);
            if now == before {
                return io::Result::Ok(());
            }
            before = now;
            tokio::time::sleep(IDLE).await;
        }
    };
    let ended = tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
        ended = idle => ended,
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a flow of datagrams was cut");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_flows_and_gives_them_back() {
        let flows = Arc::new(Flows::default());
        let ip = |last| IpAddr::from([10, 128, 0, last]);
        let all: Vec<_> = (0..FLOWS_MAX).filter_map(|_| flows.count(ip(1))).collect();
        assert_eq!(all.len(), FLOWS_MAX);
        assert!(flows.count(ip(1)).is_none() && flows.count(ip(2)).is_some());
        drop(all);
        assert!(flows.count(ip(1)).is_some());
        assert!(flows.0.lock().is_empty());
    }
}
