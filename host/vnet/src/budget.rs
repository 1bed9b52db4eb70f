//! How many bytes the connections of a namespace may hold together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A count of bytes with a limit that writers keep to.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Budget {
        Budget { bytes_max, used: AtomicUsize::new(0) }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many more bytes fit.
    pub(crate) fn left(&self) -> usize {
        self.bytes_max.saturating_sub(self.used())
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
