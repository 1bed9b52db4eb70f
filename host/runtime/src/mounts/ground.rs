//! What one mount can do. Paths are relative to the mount, without links and `..`, and `.` is the
//! mount itself.

use super::file::FileHandle;
use super::stat::{Kind, Stat, Time};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Makes it when it is not there.
    pub create: bool,
    /// With `create`: fails when it is there.
    pub exclusive: bool,
    /// Empties it.
    pub truncate: bool,
    /// Must be a directory.
    pub directory: bool,
}

impl Open {
    /// Whether it may change something.
    pub(super) fn changes(self) -> bool {
        self.write || self.create || self.truncate
    }
}

/// One time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetTime {
    /// Leaves it.
    Keep,
    /// The present.
    Now,
    /// This time.
    At(Time),
}

impl From<SetTime> for Timespec {
    fn from(time: SetTime) -> Timespec {
        match time {
            SetTime::Keep => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            SetTime::Now => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            SetTime::At(time) => time.into(),
        }
    }
}

/// The times to set on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Last read.
    pub accessed: SetTime,
    /// Last change of content.
    pub modified: SetTime,
}

impl From<Times> for Timestamps {
    fn from(times: Times) -> Timestamps {
        Timestamps { last_access: times.accessed.into(), last_modification: times.modified.into() }
    }
}

/// A mount, or the root layer.
pub(super) trait Ground: Send + Sync {
    /// Facts about what is at the path itself, link or not.
    fn stat(&self, path: &str) -> Result<Stat, Errno>;
    /// Where the link at the path leads.
    fn read_link(&self, path: &str) -> Result<String, Errno>;
    /// Opens or makes a file.
    fn open(&self, path: &str, how: Open) -> Result<FileHandle, Errno>;
    /// The names in a directory, without `.` and `..`.
    fn list(&self, path: &str) -> Result<Vec<(String, Kind)>, Errno>;
    /// Makes a directory.
    fn make_dir(&self, path: &str) -> Result<(), Errno>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &str) -> Result<(), Errno>;
    /// Removes a name that is not a directory's.
    fn unlink(&self, path: &str) -> Result<(), Errno>;
    /// Makes a link to `target`.
    fn symlink(&self, target: &str, path: &str) -> Result<(), Errno>;
    /// Gives a file another name, and takes it from whatever had it.
    fn rename(&self, from: &str, to: &str) -> Result<(), Errno>;
    /// Gives a file one more name.
    fn link(&self, from: &str, to: &str) -> Result<(), Errno>;
    /// Sets times.
    fn set_times(&self, path: &str, times: Times) -> Result<(), Errno>;
}
