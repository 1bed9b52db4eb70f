//! One container's share of a namespace: what it serves, and whether it still takes on more.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Counts the connections that the listeners of one container have taken, and refuses new ones
/// while it drains. Outgoing connections are not counted.
#[derive(Debug, Default)]
pub struct Scope {
    draining: AtomicBool,
    connections: AtomicUsize,
    bytes: AtomicU64,
}

impl Scope {
    /// From now on every new connection to a listener of this scope is refused.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether [`Scope::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// How many connections it serves, those waiting to be accepted included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// How many bytes went over them in both directions, ever. Two readings that are equal say that
    /// nothing moved in between.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn closed(&self) {
        self.connections.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn moved(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
