//! Files that are open: one whose last name is removed takes its bytes until it is closed.
//!
//! Without this, a guest that removes what it still holds open would have its limit anew for each.
//! Pods share volumes, so the books are the process's.

use super::quota::Charge;
use super::stat::Stat;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

/// A file's device and inode.
type Identity = (u64, u64);

/// What is known of an open file.
#[derive(Default)]
struct Book {
    handles: usize,
    /// Its last name is gone; this gets its bytes back.
    orphaned: Option<Arc<dyn Charge>>,
}

/// All open files that are charged. An entry goes with its last handle, and handles are bounded.
static OPEN: Mutex<Option<HashMap<Identity, Book>>> = Mutex::new(None);

/// The quota of an open file, which knows that the file is open.
#[derive(Debug)]
pub(super) struct Counted {
    quota: Arc<dyn Charge>,
    file: Arc<File>,
    identity: Identity,
}

impl Counted {
    /// Counts one more handle of `file`, which is charged to `quota`.
    pub(super) fn new(file: &Arc<File>, stat: Stat, quota: &Arc<dyn Charge>) -> Counted {
        let mut open = OPEN.lock();
        open.get_or_insert_default().entry(stat.identity).or_default().handles += 1;
        Counted { quota: quota.clone(), file: file.clone(), identity: stat.identity }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let orphaned = {
            let mut open = OPEN.lock();
            let books = open.get_or_insert_default();
            let Some(book) = books.get_mut(&self.identity) else { return };
            book.handles -= 1;
            if book.handles > 0 {
                return;
            }
            books.remove(&self.identity).and_then(|book| book.orphaned)
        };
        if let Some(quota) = orphaned {
            let bytes = rustix::fs::fstat(&self.file).map_or(0, |stat| Stat::of_kernel(&stat).size);
            quota.release(bytes);
        }
    }
}

impl Charge for Counted {
    fn charge(&self, bytes: u64) -> bool {
        self.quota.charge(bytes)
    }

    fn release(&self, bytes: u64) {
        self.quota.release(bytes);
    }

    fn charge_entry(&self) -> bool {
        self.quota.charge_entry()
    }

    fn release_entry(&self) {
        self.quota.release_entry();
    }
}

/// Gives the bytes of a file back whose last name was removed: now, or when it is closed.
pub(super) fn release(gone: Option<Stat>, quota: &Arc<dyn Charge>) {
    let Some(gone) = gone else { return };
    let mut open = OPEN.lock();
    match open.get_or_insert_default().get_mut(&gone.identity) {
        Some(book) => book.orphaned = Some(quota.clone()),
        None => quota.release(gone.size),
    }
}
