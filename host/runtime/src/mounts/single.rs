//! A mount that is one file: its path is the mount point itself.

use super::file::{Content, FileHandle};
use super::ground::{Ground, Open, Times};
use super::quota::Charge;
use super::stat::{Kind, Stat};
use rustix::io::Errno;
use std::sync::Arc;

/// An open file with the grant's rights.
pub(super) struct Single {
    pub(super) content: Content,
    pub(super) read_only: bool,
    pub(super) quota: Option<Arc<dyn Charge>>,
}

impl Single {
    fn handle(&self, how: Open) -> FileHandle {
        FileHandle {
            content: self.content.clone(),
            readable: how.read,
            writable: how.write && !self.read_only,
            quota: self.quota.clone(),
            slot: None,
        }
    }

    fn check(path: &str) -> Result<(), Errno> {
        if path == "." { Ok(()) } else { Err(Errno::NOTDIR) }
    }

    /// A mount point can be neither removed nor given away.
    fn busy<T>(path: &str) -> Result<T, Errno> {
        Self::check(path)?;
        Err(Errno::BUSY)
    }

    /// Nothing can be made where the file is, or below it.
    fn taken<T>(path: &str) -> Result<T, Errno> {
        Self::check(path)?;
        Err(Errno::EXIST)
    }
}

impl Ground for Single {
    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        Self::check(path)?;
        self.handle(Open::default()).stat()
    }

    fn read_link(&self, path: &str) -> Result<String, Errno> {
        Self::check(path)?;
        Err(Errno::INVAL)
    }

    fn open(&self, path: &str, how: Open) -> Result<FileHandle, Errno> {
        Self::check(path)?;
        if how.create && how.exclusive {
            return Err(Errno::EXIST);
        }
        if (how.write || how.truncate) && self.read_only {
            return Err(Errno::ROFS);
        }
        if how.truncate {
            self.handle(Open { write: true, ..how }).set_size(0)?;
        }
        Ok(self.handle(how))
    }

    fn list(&self, _path: &str) -> Result<Vec<(String, Kind)>, Errno> {
        Err(Errno::NOTDIR)
    }

    fn make_dir(&self, path: &str) -> Result<(), Errno> {
        Self::taken(path)
    }

    fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        Self::check(path)?;
        Err(Errno::NOTDIR)
    }

    fn unlink(&self, path: &str) -> Result<(), Errno> {
        Self::busy(path)
    }

    fn symlink(&self, _target: &str, path: &str) -> Result<(), Errno> {
        Self::taken(path)
    }

    fn rename(&self, from: &str, _to: &str) -> Result<(), Errno> {
        Self::busy(from)
    }

    fn link(&self, _from: &str, to: &str) -> Result<(), Errno> {
        Self::taken(to)
    }

    fn set_times(&self, path: &str, times: Times) -> Result<(), Errno> {
        Self::check(path)?;
        if self.read_only {
            return Err(Errno::ROFS);
        }
        self.handle(Open { write: true, ..Open::default() }).set_times(times)
    }
}
