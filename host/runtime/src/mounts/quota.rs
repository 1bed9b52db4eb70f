//! How much may be written.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts bytes against a limit. A volume's size limit, a pod's ephemeral storage and its memory
/// (for volumes held in memory) are each one.
pub trait Charge: Send + Sync + fmt::Debug {
    /// Takes `bytes` more; `false` when the limit does not allow it, and then nothing is taken.
    #[must_use]
    fn charge(&self, bytes: u64) -> bool;

    /// Gives `bytes` back.
    fn release(&self, bytes: u64);
}

/// A limit in bytes, under further limits that are charged with it. Share one among all mounts of
/// the same volume.
#[derive(Debug)]
pub struct Quota {
    bytes_max: u64,
    used: AtomicU64,
    above: Vec<Arc<dyn Charge>>,
}

impl Quota {
    /// A limit of `bytes_max` bytes, of which `used` are taken already.
    #[must_use]
    pub fn new(bytes_max: u64, used: u64) -> Quota {
        Quota { bytes_max, used: AtomicU64::new(used), above: Vec::new() }
    }

    /// No limit of its own: counts, and asks those above.
    #[must_use]
    pub fn unlimited() -> Quota {
        Quota::new(u64::MAX, 0)
    }

    /// Charges `above` too.
    #[must_use]
    pub fn under(mut self, above: Arc<dyn Charge>) -> Quota {
        self.above.push(above);
        self
    }

    /// How many bytes are taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.used.try_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn give(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // The closure always gives a value, so there is no failure to look at.
        let _ = self.used.try_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}

impl Charge for Quota {
    fn charge(&self, bytes: u64) -> bool {
        if !self.take(bytes) {
            return false;
        }
        for (index, above) in self.above.iter().enumerate() {
            if !above.charge(bytes) {
                self.above.iter().take(index).for_each(|charged| charged.release(bytes));
                self.give(bytes);
                return false;
            }
        }
        true
    }

    fn release(&self, bytes: u64) {
        self.give(bytes);
        self.above.iter().for_each(|above| above.release(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_above_refuses_and_leaves_no_trace() {
        let pod = Arc::new(Quota::new(10, 0));
        let volume = Quota::new(100, 0).under(pod.clone());
        assert!(volume.charge(10));
        assert!(!volume.charge(1));
        assert_eq!((volume.used(), pod.used()), (10, 10));
        volume.release(4);
        assert_eq!((volume.used(), pod.used()), (6, 6));
        assert!(!volume.charge(u64::MAX));
    }
}
