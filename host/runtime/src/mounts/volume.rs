//! A mount that is a directory of the host.

use super::disk;
use super::file::{Content, FileHandle};
use super::ground::{Ground, Open, Times};
use super::orphans::{self, Counted};
use super::quota::{Charge, charged, release_entry};
use super::stat::{Kind, Stat};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// An open directory with the grant's rights.
pub(super) struct Volume {
    pub(super) dir: Arc<OwnedFd>,
    pub(super) read_only: bool,
    pub(super) quota: Option<Arc<dyn Charge>>,
}

impl Volume {
    fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    fn writable(&self) -> Result<BorrowedFd<'_>, Errno> {
        if self.read_only { Err(Errno::ROFS) } else { Ok(self.dir()) }
    }

    /// Gives back what an entry held whose name was removed.
    fn release(&self, gone: Option<Stat>) {
        if let Some(quota) = &self.quota {
            orphans::release(gone, quota);
            quota.release_entry();
        }
    }
}

/// A file that has no other name; nothing when nobody counts.
pub(super) fn last_name(counted: bool, dir: BorrowedFd<'_>, path: &str) -> Option<Stat> {
    if !counted {
        return None;
    }
    disk::stat(dir, path).ok().filter(|stat| stat.kind == Kind::File && stat.links == 1)
}

/// The kernel's flags for an opening.
pub(super) fn flags(how: Open) -> OFlags {
    let mut flags = if how.write || how.truncate { OFlags::RDWR } else { OFlags::RDONLY };
    if !how.read && how.write {
        flags = OFlags::WRONLY;
    }
    flags.set(OFlags::CREATE, how.create);
    flags.set(OFlags::EXCL, how.create && how.exclusive);
    flags.set(OFlags::TRUNC, how.truncate);
    flags
}

/// Opens a file beneath `dir`; charges for one that is made, and gives back what emptying freed.
pub(super) fn open_charged(
    dir: BorrowedFd<'_>,
    path: &str,
    how: Open,
    quota: Option<&Arc<dyn Charge>>,
) -> Result<FileHandle, Errno> {
    if how.create && quota.is_some() {
        let fresh = Open { exclusive: true, ..how };
        match charged(quota, || disk::open_file(dir, path, flags(fresh))) {
            Ok((file, stat)) => return Ok(handle(file, stat, how, quota)),
            // A full volume still opens what is there.
            Err(Errno::EXIST | Errno::NOSPC) if !how.exclusive => {}
            Err(error) => return Err(error),
        }
    }
    let is_counted = quota.is_some();
    let emptied = if how.truncate { last_name(is_counted, dir, path) } else { None };
    let existing = Open { create: how.create && !is_counted, ..how };
    let (file, stat) = match disk::open_file(dir, path, flags(existing)) {
        Err(Errno::NOENT) if how.create => return Err(Errno::NOSPC),
        result => result?,
    };
    if let Some(quota) = quota {
        quota.release(emptied.map_or(0, |file| file.size));
    }
    Ok(handle(file, stat, how, quota))
}

fn handle(file: File, stat: Stat, how: Open, quota: Option<&Arc<dyn Charge>>) -> FileHandle {
    let file = Arc::new(file);
    let counted = quota.map(|quota| Counted::new(&file, stat, quota));
    FileHandle {
        content: Content::Disk(file),
        readable: how.read,
        writable: how.write,
        quota: counted.map(|counted| Arc::new(counted) as Arc<dyn Charge>),
        slot: None,
    }
}

impl Ground for Volume {
    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        disk::stat(self.dir(), path)
    }

    fn read_link(&self, path: &str) -> Result<String, Errno> {
        disk::read_link(self.dir(), path)
    }

    fn open(&self, path: &str, how: Open) -> Result<FileHandle, Errno> {
        if !how.changes() || !self.read_only {
            return open_charged(self.dir(), path, how, self.quota.as_ref());
        }
        // Creating what exists only opens it, read-only or not.
        match disk::stat(self.dir(), path) {
            Ok(_) if how.create && how.exclusive => Err(Errno::EXIST),
            Ok(_) if !how.write && !how.truncate => {
                let how = Open { create: false, ..how };
                open_charged(self.dir(), path, how, self.quota.as_ref())
            }
            Ok(_) | Err(Errno::NOENT) => Err(Errno::ROFS),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &str) -> Result<Vec<(String, Kind)>, Errno> {
        disk::list(self.dir(), path)
    }

    fn make_dir(&self, path: &str) -> Result<(), Errno> {
        if disk::stat(self.dir(), path).is_ok() {
            return Err(Errno::EXIST);
        }
        let dir = self.writable()?;
        charged(self.quota.as_ref(), || disk::make_dir(dir, path))
    }

    fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        disk::remove_dir(self.writable()?, path)?;
        release_entry(self.quota.as_ref());
        Ok(())
    }

    fn unlink(&self, path: &str) -> Result<(), Errno> {
        let dir = self.writable()?;
        let gone = last_name(self.quota.is_some(), dir, path);
        disk::unlink(dir, path)?;
        self.release(gone);
        Ok(())
    }

    fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        let dir = self.writable()?;
        charged(self.quota.as_ref(), || disk::symlink(target, dir, path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let dir = self.writable()?;
        if self.quota.is_none() {
            return disk::rename(dir, from, dir, to);
        }
        let [source, target] = [from, to].map(|path| disk::stat(dir, path).ok());
        let replaced =
            target.filter(|target| source.is_some_and(|source| source.identity != target.identity));
        let gone = last_name(replaced.is_some(), dir, to);
        disk::rename(dir, from, dir, to)?;
        if replaced.is_some() {
            self.release(gone);
        }
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> Result<(), Errno> {
        let dir = self.writable()?;
        charged(self.quota.as_ref(), || disk::link(dir, from, to))
    }

    fn set_times(&self, path: &str, times: Times) -> Result<(), Errno> {
        disk::set_times(self.writable()?, path, &times.into())
    }
}
