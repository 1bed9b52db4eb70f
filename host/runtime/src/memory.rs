//! How much memory a container holds, and the refusal of more.
//!
//! One [`Account`] for a container and one for its pod above it; all instances of a container draw
//! on the same. Pure counting: nothing here waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Bytes that a table element is counted with.
const TABLE_ELEMENT_BYTES: u64 = 16;

/// Bytes in use under one limit, with the limits above it.
pub(crate) struct Account {
    used_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    limit_bytes: Option<u64>,
    parent: Option<Arc<Account>>,
    /// Is told when bytes come back, for those who wait for memory.
    freed: Notify,
}

impl Account {
    /// Opens an account. `parent` is charged as well, and its limit holds too.
    pub(crate) fn new(limit_bytes: Option<u64>, parent: Option<Arc<Account>>) -> Arc<Self> {
        let [used_bytes, peak_bytes] = [AtomicU64::new(0), AtomicU64::new(0)];
        Arc::new(Self { used_bytes, peak_bytes, limit_bytes, parent, freed: Notify::new() })
    }

    /// Bytes in use now.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that were in use at once, as far as the pod above had room for them.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    /// The smallest limit that holds here, in bytes.
    pub(crate) fn limit_bytes(&self) -> Option<u64> {
        let above = self.parent.as_ref().and_then(|parent| parent.limit_bytes());
        match (self.limit_bytes, above) {
            (Some(own), Some(above)) => Some(own.min(above)),
            (own, above) => own.or(above),
        }
    }

    /// Takes `bytes`, here and above, or nothing at all.
    fn charge(&self, bytes: u64) -> Result<(), OverLimit> {
        let limit = self.limit_bytes.unwrap_or(u64::MAX);
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.used_bytes
            .try_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .map_err(|_| OverLimit { limit_bytes: limit })?;
        if let Some(parent) = &self.parent
            && let Err(over) = parent.charge(bytes)
        {
            self.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
            return Err(over);
        }
        self.peak_bytes.fetch_max(self.used_bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// Gives `bytes` back, here and above.
    fn release(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.freed.notify_waiters();
        if let Some(parent) = &self.parent {
            parent.release(bytes);
        }
    }

    /// Says whether `bytes` more would fit now.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let limit = self.limit_bytes.unwrap_or(u64::MAX);
        let fits = self.used_bytes().checked_add(bytes).is_some_and(|sum| sum <= limit);
        fits && self.parent.as_ref().is_none_or(|parent| parent.has_room(bytes))
    }

    /// Resolves at the next release of this account.
    pub(crate) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }
}

impl crate::mounts::Charge for Account {
    fn charge(&self, bytes: u64) -> bool {
        Account::charge(self, bytes).is_ok()
    }

    fn release(&self, bytes: u64) {
        Account::release(self, bytes);
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("used_bytes", &self.used_bytes())
            .field("limit_bytes", &self.limit_bytes)
            .finish_non_exhaustive()
    }
}

/// A charge did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverLimit {
    /// The limit that it did not fit under, in bytes.
    pub(crate) limit_bytes: u64,
}

/// One store's hold on its container's account; gives everything back when it is dropped.
pub(crate) struct MemoryHold {
    account: Arc<Account>,
    held_bytes: u64,
    refused_at_bytes: Option<u64>,
}

impl MemoryHold {
    /// Holds nothing yet.
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self { account, held_bytes: 0, refused_at_bytes: None }
    }

    /// The limit that this store was refused memory for, in bytes; `None` when it never was.
    pub(crate) fn refused_at_bytes(&self) -> Option<u64> {
        self.refused_at_bytes
    }

    fn grow(&mut self, bytes: u64) -> bool {
        match self.account.charge(bytes) {
            Ok(()) => {
                self.held_bytes += bytes;
                true
            }
            Err(over) => {
                self.refused_at_bytes = Some(over.limit_bytes);
                false
            }
        }
    }
}

impl Drop for MemoryHold {
    fn drop(&mut self) {
        self.account.release(self.held_bytes);
    }
}

impl wasmtime::ResourceLimiter for MemoryHold {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = desired.saturating_sub(current) as u64;
        Ok(self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::ResourceLimiter;

    #[test]
    fn instances_share_one_limit_and_give_back() {
        let account = Account::new(Some(100), None);
        let mut first = MemoryHold::new(account.clone());
        let mut second = MemoryHold::new(account.clone());
        assert!(first.memory_growing(0, 60, None).unwrap());
        assert!(!second.memory_growing(0, 41, None).unwrap());
        assert_eq!(second.refused_at_bytes(), Some(100));
        assert!(second.memory_growing(0, 40, None).unwrap());
        assert!(!account.has_room(1));
        drop(first);
        assert_eq!(account.used_bytes(), 40);
        drop(second);
        assert_eq!((account.used_bytes(), account.peak_bytes()), (0, 100));
    }

    #[test]
    fn a_pod_limit_holds_above_and_is_named() {
        let pod = Account::new(Some(50), None);
        let account = Account::new(Some(100), Some(pod.clone()));
        assert_eq!(account.limit_bytes(), Some(50));
        let mut hold = MemoryHold::new(account.clone());
        assert!(!hold.memory_growing(0, 51, None).unwrap());
        assert_eq!(hold.refused_at_bytes(), Some(50));
        assert_eq!((account.used_bytes(), pod.used_bytes()), (0, 0));
        assert!(hold.table_growing(0, 2, None).unwrap());
        assert_eq!((account.used_bytes(), pod.used_bytes()), (32, 32));
    }
}
