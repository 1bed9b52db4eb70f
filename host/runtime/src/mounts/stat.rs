//! Facts about a file.

use rustix::fs::{FileType, Timespec};
use serde::{Deserialize, Serialize};

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharacterDevice,
    /// Anything else: a block device, pipe or socket that lies in a volume.
    Other,
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Kind {
        match kind {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::CharacterDevice,
            FileType::Fifo | FileType::Socket | FileType::BlockDevice | FileType::Unknown => {
                Kind::Other
            }
        }
    }
}

/// A point in time: seconds since 1970 and nanoseconds of the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl From<Time> for Timespec {
    fn from(time: Time) -> Timespec {
        Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) }
    }
}

/// What is known about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// What kind of thing it is.
    pub kind: Kind,
    /// How many names it has.
    pub links: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Last read.
    pub accessed: Time,
    /// Last change of its content.
    pub modified: Time,
    /// Last change of these facts.
    pub changed: Time,
    /// Equal for two handles exactly when they are the same file.
    pub identity: (u64, u64),
}

impl Stat {
    /// What the kernel says.
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "the kernel's types differ between processors; sizes and nanoseconds are never negative"
    )]
    pub(super) fn of_kernel(stat: &rustix::fs::Stat) -> Stat {
        Stat {
            kind: FileType::from_raw_mode(stat.st_mode).into(),
            links: stat.st_nlink as u64,
            size: stat.st_size as u64,
            accessed: Time {
                seconds: stat.st_atime as i64,
                nanoseconds: stat.st_atime_nsec as u32,
            },
            modified: Time {
                seconds: stat.st_mtime as i64,
                nanoseconds: stat.st_mtime_nsec as u32,
            },
            changed: Time { seconds: stat.st_ctime as i64, nanoseconds: stat.st_ctime_nsec as u32 },
            identity: (stat.st_dev as u64, stat.st_ino as u64),
        }
    }

    /// A file or directory that is made up; `path` gives it an identity of its own.
    pub(super) fn made_up(kind: Kind, size: u64, path: &str) -> Stat {
        let time = Time::default();
        let identity = (u64::MAX, fingerprint(path));
        Stat { kind, links: 1, size, accessed: time, modified: time, changed: time, identity }
    }
}

/// A number for a text: FNV-1a, because it must be the same in every instance.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
