//! How much may be written.

use rustix::io::Errno;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that stand for one file, link or directory besides its content: empty ones take inodes, and
/// of a volume in memory the host's memory. *Source:* about what the kernel's tmpfs holds of one.
pub const ENTRY_BYTES: u64 = 1024;

/// Fewest entries that every limit has room for, however few bytes it has.
const ENTRIES_MAX_LEAST: u64 = 1024;

/// Most entries under one limit, however many bytes it has: a disk's inodes are for all pods.
const ENTRIES_MAX_MOST: u64 = 1_000_000;

/// Counts bytes against a limit. A volume's size limit, a pod's ephemeral storage and its memory
/// (for volumes held in memory) are each one.
pub trait Charge: Send + Sync + fmt::Debug {
    /// Takes `bytes` more; `false` when the limit does not allow it, and then nothing is taken.
    #[must_use]
    fn charge(&self, bytes: u64) -> bool;

    /// Gives `bytes` back.
    fn release(&self, bytes: u64);

    /// Takes room for one more entry (a file, link or directory); `false` when there is none.
    #[must_use]
    fn charge_entry(&self) -> bool {
        true
    }

    /// Gives the room of one entry back.
    fn release_entry(&self) {}
}

/// A limit in bytes, under further limits that are charged with it. Share one among all mounts of
/// the same volume. It bounds the number of entries too: one for each [`ENTRY_BYTES`], but 1,024 at
/// least and 1,000,000 at most; the limits above are charged [`ENTRY_BYTES`] for each.
#[derive(Debug)]
pub struct Quota {
    bytes_max: AtomicU64,
    used: AtomicU64,
    entries: AtomicU64,
    above: Vec<Arc<dyn Charge>>,
}

impl Quota {
    /// A limit of `bytes_max` bytes, of which `used` are taken already.
    #[must_use]
    pub fn new(bytes_max: u64, used: u64) -> Quota {
        let (used, entries) = (AtomicU64::new(used), AtomicU64::new(0));
        Quota { bytes_max: AtomicU64::new(bytes_max), used, entries, above: Vec::new() }
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

    /// Sets another limit; what is taken stays taken, if there is more of it than that.
    pub fn resize(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Release);
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Acquire)
    }

    /// How many bytes are taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    fn entries_max(&self) -> u64 {
        (self.bytes_max() / ENTRY_BYTES).clamp(ENTRIES_MAX_LEAST, ENTRIES_MAX_MOST)
    }

    /// Charges those above, all or none of them.
    fn charge_above(&self, bytes: u64) -> bool {
        for (index, above) in self.above.iter().enumerate() {
            if !above.charge(bytes) {
                self.above.iter().take(index).for_each(|charged| charged.release(bytes));
                return false;
            }
        }
        true
    }

    fn take(&self, bytes: u64) -> bool {
        let bytes_max = self.bytes_max();
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= bytes_max);
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
        let is_charged = self.charge_above(bytes);
        if !is_charged {
            self.give(bytes);
        }
        is_charged
    }

    fn release(&self, bytes: u64) {
        self.give(bytes);
        self.above.iter().for_each(|above| above.release(bytes));
    }

    fn charge_entry(&self) -> bool {
        let more = |entries: u64| Some(entries + 1).filter(|sum| *sum <= self.entries_max());
        if self.entries.try_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            return false;
        }
        let is_charged = self.charge_above(ENTRY_BYTES);
        if !is_charged {
            self.entries.fetch_sub(1, Ordering::AcqRel);
        }
        is_charged
    }

    fn release_entry(&self) {
        let less = |entries: u64| entries.checked_sub(1);
        // Those that were there before the limit was made have never been charged.
        if self.entries.try_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok() {
            self.above.iter().for_each(|above| above.release(ENTRY_BYTES));
        }
    }
}

/// Makes an entry that is charged for.
pub(super) fn charged<T>(
    quota: Option<&Arc<dyn Charge>>,
    make: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    if quota.is_some_and(|quota| !quota.charge_entry()) {
        return Err(Errno::NOSPC);
    }
    let made = make();
    if made.is_err() {
        release_entry(quota);
    }
    made
}

/// Gives the room of one entry back.
pub(super) fn release_entry(quota: Option<&Arc<dyn Charge>>) {
    if let Some(quota) = quota {
        quota.release_entry();
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
        pod.resize(12);
        assert!(volume.charge(6) && !volume.charge(1));
        pod.resize(1);
        assert!(!volume.charge(1), "what is taken stays, and nothing is added");
    }

    #[test]
    fn entries_are_bounded_and_charged_above() {
        let pod = Arc::new(Quota::new(ENTRIES_MAX_LEAST * ENTRY_BYTES, 0));
        let volume = Quota::new(10, 0).under(pod.clone());
        for _ in 0..ENTRIES_MAX_LEAST {
            assert!(volume.charge_entry());
        }
        assert!(!volume.charge_entry());
        assert_eq!((volume.used(), pod.used()), (0, ENTRIES_MAX_LEAST * ENTRY_BYTES));
        volume.release_entry();
        assert!(pod.charge(1), "room that an entry gave back");
        assert!(!volume.charge_entry(), "the limit above");
        pod.release(1);
        assert!(volume.charge_entry());
        let fresh = Quota::unlimited().under(pod.clone());
        fresh.release_entry();
        assert_eq!(pod.used(), ENTRIES_MAX_LEAST * ENTRY_BYTES, "never charged");
    }
}
