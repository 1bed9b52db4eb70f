//! What a namespace has sent and received: counted, never limited.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes and datagrams of one namespace, over connections and by datagram, loopback included.
#[derive(Debug, Default)]
pub struct Traffic {
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    /// Bytes that were received.
    pub received_bytes: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Pieces that were received: what one read gave, or one datagram.
    pub received: u64,
    /// Pieces that were sent.
    pub sent: u64,
}

impl Traffic {
    /// Counts a piece that was received; an empty one is none.
    pub fn receive(&self, bytes: usize) {
        add(&self.received_bytes, &self.received, bytes);
    }

    /// Counts a piece that was sent; an empty one is none.
    pub fn send(&self, bytes: usize) {
        add(&self.sent_bytes, &self.sent, bytes);
    }

    /// Reads the counts.
    #[must_use]
    pub fn counts(&self) -> TrafficCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TrafficCounts {
            received_bytes: read(&self.received_bytes),
            sent_bytes: read(&self.sent_bytes),
            received: read(&self.received),
            sent: read(&self.sent),
        }
    }
}

fn add(sum: &AtomicU64, pieces: &AtomicU64, bytes: usize) {
    if bytes > 0 {
        sum.fetch_add(bytes as u64, Ordering::Relaxed);
        pieces.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Fabric, Flow, NetNsSpec, NsTag, ResolveError, Resolver, Route, Router};
    use futures::FutureExt as _;
    use std::net::IpAddr;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    struct Nobody;

    impl Router for Nobody {
        fn route(&self, flow: &Flow) -> Route {
            Route::Pod(flow.destination)
        }
    }

    impl Resolver for Nobody {
        fn resolve(
            &self,
            _from: &NsTag,
            name: &str,
        ) -> crate::BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
            futures::future::ready(Err(ResolveError::NotFound(name.to_owned()))).boxed()
        }
    }

    #[tokio::test]
    async fn both_ends_count_what_went_over_a_connection() {
        let fabric = Fabric::new(Arc::new(Nobody), Arc::new(Nobody));
        let make = |name: &str, ip: [u8; 4]| {
            fabric.add(NetNsSpec::new(NsTag::new(name, name), vec![ip.into()])).unwrap()
        };
        let (one, two) = (make("one", [10, 0, 0, 1]), make("two", [10, 0, 0, 2]));
        let listener = two.bind_tcp(([10, 0, 0, 2], 80).into()).unwrap().listen(8, None).unwrap();
        let mut near = one.connect_tcp(([10, 0, 0, 2], 80).into(), None).await.unwrap();
        let mut far = listener.accept().await.unwrap();
        near.write_all(b"question").await.unwrap();
        let mut text = [0; 8];
        far.read_exact(&mut text).await.unwrap();
        far.write_all(b"yes").await.unwrap();
        near.read_exact(&mut text[..3]).await.unwrap();
        let bytes = |ns: &crate::NetNs| {
            let counts = ns.traffic().counts();
            (counts.sent_bytes, counts.received_bytes)
        };
        assert_eq!((bytes(&one), bytes(&two)), ((8, 3), (3, 8)));
        assert_eq!((one.traffic().counts().sent, two.traffic().counts().received), (1, 1));
    }
}
