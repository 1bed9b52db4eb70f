//! An open file.

use super::aside::aside;
use super::ground::Times;
use super::quota::Charge;
use super::stat::{Kind, Stat};
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Where the content is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// On the host's disk.
    Disk(Arc<File>),
    /// In memory, unchangeable.
    Memory(Bytes, Stat),
    /// `/dev/null`.
    Null(Stat),
}

/// Most files of the host that the instances of a container hold open together: descriptors are
/// the host's, and its other containers need theirs. One more is `EMFILE`. *Source:* the usual
/// `RLIMIT_NOFILE`.
pub(super) const FILES_MAX: usize = 1024;

/// What the instances of a container do with files of the host, together.
#[derive(Debug, Default)]
pub(crate) struct Files {
    open: AtomicUsize,
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
}

impl Files {
    /// Reads what was counted.
    pub(crate) fn counts(&self) -> DiskCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DiskCounts {
            reads: read(&self.reads),
            read_bytes: read(&self.read_bytes),
            writes: read(&self.writes),
            written_bytes: read(&self.written_bytes),
        }
    }
}

/// What was read from files of the host and written to them. What the page cache gave counts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCounts {
    /// Reads.
    pub reads: u64,
    /// Bytes that they gave.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
}

/// One of a container's open files; counted until it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Files>);

impl Slot {
    /// Takes a place among the `open` files.
    pub(super) fn take(files: &Arc<Files>) -> Result<Slot, Errno> {
        let slot = Slot(files.clone());
        let before = files.open.fetch_add(1, Ordering::Relaxed);
        if before < FILES_MAX { Ok(slot) } else { Err(Errno::MFILE) }
    }

    fn read(&self, bytes: usize) {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        self.0.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn wrote(&self, bytes: usize) {
        self.0.writes.fetch_add(1, Ordering::Relaxed);
        self.0.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open file. Calls act at once on the guest's thread: local disks answer sooner than another
/// thread would.
#[derive(Clone, Debug)]
pub struct FileHandle {
    pub(super) content: Content,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) quota: Option<Arc<dyn Charge>>,
    /// Its place among the container's open files.
    pub(super) slot: Option<Arc<Slot>>,
}

impl FileHandle {
    /// Whether it was opened for reading.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether it was opened for writing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Up to `bytes_max` bytes from `offset` on; empty at the end.
    ///
    /// # Errors
    /// `EBADF` when it was not opened for reading, and what the disk says.
    pub fn read(&self, bytes_max: usize, offset: u64) -> Result<Bytes, Errno> {
        if !self.readable {
            return Err(Errno::BADF);
        }
        match &self.content {
            Content::Null(_) => Ok(Bytes::new()),
            Content::Memory(content, _) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
                let end = start.saturating_add(bytes_max).min(content.len());
                Ok(content.slice(start..end))
            }
            Content::Disk(file) => {
                let mut buffer = Vec::with_capacity(bytes_max);
                rustix::io::retry_on_intr(|| {
                    rustix::io::pread(file, spare_capacity(&mut buffer), offset)
                })?;
                if let Some(slot) = &self.slot {
                    slot.read(buffer.len());
                }
                Ok(buffer.into())
            }
        }
    }

    /// Writes all of `data` at `offset`, or at the end when there is none.
    ///
    /// # Errors
    /// `EBADF` when it was not opened for writing, `ENOSPC` when a limit does not allow it, and what
    /// the disk says.
    pub fn write(&self, data: &[u8], offset: Option<u64>) -> Result<(), Errno> {
        let file = match (&self.content, self.writable) {
            (Content::Disk(file), true) => file,
            (Content::Null(_), true) => return Ok(()),
            (Content::Memory(..), _) | (_, false) => return Err(Errno::BADF),
        };
        if let Some(slot) = &self.slot {
            slot.wrote(data.len());
        }
        let Some(quota) = &self.quota else { return write_all(file, data, offset) };
        let size = size(file)?;
        let end = offset.unwrap_or(size).saturating_add(data.len() as u64);
        let growth = end.saturating_sub(size);
        if !quota.charge(growth) {
            return Err(Errno::NOSPC);
        }
        let written = write_all(file, data, offset);
        if written.is_err() {
            let grown = self::size(file).unwrap_or(end).saturating_sub(size);
            quota.release(growth.saturating_sub(grown));
        }
        written
    }

    /// Cuts or extends it to `bytes`.
    ///
    /// # Errors
    /// As [`FileHandle::write`].
    pub fn set_size(&self, bytes: u64) -> Result<(), Errno> {
        let Content::Disk(file) = &self.content else { return Err(Errno::INVAL) };
        if !self.writable {
            return Err(Errno::BADF);
        }
        let before = size(file)?;
        if let Some(quota) = &self.quota
            && !quota.charge(bytes.saturating_sub(before))
        {
            return Err(Errno::NOSPC);
        }
        let result = rustix::fs::ftruncate(file, bytes);
        if let Some(quota) = &self.quota {
            let back = if result.is_ok() {
                before.saturating_sub(bytes)
            } else {
                bytes.saturating_sub(before)
            };
            quota.release(back);
        }
        result
    }

    /// Facts about it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn stat(&self) -> Result<Stat, Errno> {
        match &self.content {
            Content::Disk(file) => Ok(Stat::of_kernel(&rustix::fs::fstat(file)?)),
            Content::Memory(_, stat) | Content::Null(stat) => Ok(*stat),
        }
    }

    /// Sets its times.
    ///
    /// # Errors
    /// `EBADF` when it was not opened for writing, and what the disk says.
    pub fn set_times(&self, times: Times) -> Result<(), Errno> {
        match &self.content {
            Content::Disk(file) if self.writable => rustix::fs::futimens(file, &times.into()),
            Content::Disk(_) | Content::Memory(..) => Err(Errno::BADF),
            Content::Null(_) => Ok(()),
        }
    }

    /// Waits until the disk has it all.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync(&self) -> Result<(), Errno> {
        match &self.content {
            Content::Disk(file) => aside(|| rustix::fs::fsync(file)),
            Content::Memory(..) | Content::Null(_) => Ok(()),
        }
    }

    /// Waits until the disk has its content.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync_data(&self) -> Result<(), Errno> {
        match &self.content {
            Content::Disk(file) => aside(|| rustix::fs::fdatasync(file)),
            Content::Memory(..) | Content::Null(_) => Ok(()),
        }
    }

    /// Takes the lock that only one opening of it has at a time, in whatever process; says whether it
    /// was free. The lock ends with the last clone of this handle.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn try_lock(&self) -> Result<bool, Errno> {
        let Content::Disk(file) = &self.content else { return Ok(true) };
        let lock = || rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
        match rustix::io::retry_on_intr(lock) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Passes on how it will be used.
    ///
    /// # Errors
    /// What the disk says.
    pub fn advise(&self, offset: u64, bytes: u64, advice: Advice) -> Result<(), Errno> {
        match &self.content {
            Content::Disk(file) => {
                rustix::fs::fadvise(file, offset, std::num::NonZeroU64::new(bytes), advice)
            }
            Content::Memory(..) | Content::Null(_) => Ok(()),
        }
    }

    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.content {
            Content::Disk(_) | Content::Memory(..) => Kind::File,
            Content::Null(_) => Kind::CharacterDevice,
        }
    }
}

fn size(file: &File) -> Result<u64, Errno> {
    Ok(Stat::of_kernel(&rustix::fs::fstat(file)?).size)
}

fn write_all(file: &File, mut data: &[u8], mut offset: Option<u64>) -> Result<(), Errno> {
    while !data.is_empty() {
        let length = rustix::io::retry_on_intr(|| match offset {
            Some(offset) => rustix::io::pwrite(file, data, offset),
            None => {
                rustix::io::pwritev2(file, &[IoSlice::new(data)], u64::MAX, ReadWriteFlags::APPEND)
            }
        })?;
        data = data.get(length..).unwrap_or_default();
        offset = offset.map(|offset| offset + length as u64);
    }
    Ok(())
}
