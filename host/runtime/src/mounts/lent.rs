//! A ground that another process has open: each call on it is asked of that process.
//!
//! This process then holds no directory at all, only the files that it was given.

use super::file::{Content as FileContent, FileHandle};
use super::ground::{Ground, Open, Times};
use super::quota::Charge;
use super::stat::{Kind, Stat};
use bytes::Bytes;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

/// A call on the grounds or the quotas of one container's table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Facts about a path.
    Stat(String),
    /// Where a link leads.
    ReadLink(String),
    /// A file.
    Open(String, Open),
    /// A directory's names.
    List(String),
    /// A new directory.
    MakeDir(String),
    /// Removal of a directory.
    RemoveDir(String),
    /// Removal of a name.
    Unlink(String),
    /// A new link: target, path.
    Symlink(String, String),
    /// Another name: from, to.
    Rename(String, String),
    /// One more name: from, to.
    Link(String, String),
    /// Times.
    SetTimes(String, Times),
    /// Bytes charged to a quota.
    Charge(u32, u64),
    /// Bytes given back to a quota.
    Release(u32, u64),
    /// The end of a file, by the number of its quota.
    Close(u32),
}

/// What an opened file holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Content {
    /// The file that comes with the answer.
    Disk,
    /// Unchangeable bytes, in the file that comes with the answer.
    Memory(Stat),
    /// Nothing.
    Null(Stat),
}

/// The answer to an [`Ask`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Facts.
    Stat(Stat),
    /// A link's target.
    Target(String),
    /// A file.
    File {
        /// What it holds.
        content: Content,
        /// It was opened for reading.
        readable: bool,
        /// It was opened for writing.
        writable: bool,
        /// What is charged for what is written.
        quota: Option<u32>,
    },
    /// Names.
    Names(Vec<(String, Kind)>),
    /// It is done.
    Done,
    /// It is not: the number of the error.
    Failed(i32),
}

/// Whom to ask. A call takes as long as the disk of the other process.
pub(crate) trait Lender: Send + Sync + fmt::Debug {
    /// Asks about the mount with an index, or about the root layer.
    fn ask(&self, mount: Option<usize>, ask: &Ask) -> Result<(Answer, Option<File>), Errno>;
}

/// A ground that is asked for.
pub(super) struct Borrowed {
    lender: Arc<dyn Lender>,
    mount: Option<usize>,
}

impl Borrowed {
    /// The root layer.
    pub(super) fn root(lender: Arc<dyn Lender>) -> Self {
        Self { lender, mount: None }
    }

    /// A mount, by its index in the table.
    pub(super) fn mount(lender: Arc<dyn Lender>, index: usize) -> Self {
        Self { lender, mount: Some(index) }
    }

    fn ask(&self, ask: &Ask) -> Result<(Answer, Option<File>), Errno> {
        match self.lender.ask(self.mount, ask)? {
            (Answer::Failed(number), _) => Err(Errno::from_raw_os_error(number)),
            answer => Ok(answer),
        }
    }

    fn done(&self, ask: &Ask) -> Result<(), Errno> {
        if let Answer::Done = self.ask(ask)?.0 { Ok(()) } else { Err(Errno::IO) }
    }
}

/// The quota of an open file, which is counted elsewhere.
#[derive(Debug)]
struct BorrowedQuota {
    lender: Arc<dyn Lender>,
    quota: u32,
}

impl Charge for BorrowedQuota {
    fn charge(&self, bytes: u64) -> bool {
        matches!(self.lender.ask(None, &Ask::Charge(self.quota, bytes)), Ok((Answer::Done, _)))
    }

    fn release(&self, bytes: u64) {
        // It only fails when whoever counts is gone.
        let _ = self.lender.ask(None, &Ask::Release(self.quota, bytes));
    }
}

impl Drop for BorrowedQuota {
    fn drop(&mut self) {
        let _ = self.lender.ask(None, &Ask::Close(self.quota));
    }
}

/// The content of a file that was lent.
fn content(content: Content, file: Option<File>) -> Result<FileContent, Errno> {
    Ok(match content {
        Content::Null(stat) => FileContent::Null(stat),
        Content::Disk => FileContent::Disk(Arc::new(file.ok_or(Errno::IO)?)),
        Content::Memory(stat) => {
            let mut bytes = Vec::new();
            let mut file = file.ok_or(Errno::IO)?;
            file.read_to_end(&mut bytes).map_err(|_| Errno::IO)?;
            FileContent::Memory(Bytes::from(bytes), stat)
        }
    })
}

impl Ground for Borrowed {
    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        let answer = self.ask(&Ask::Stat(path.to_owned()))?.0;
        if let Answer::Stat(stat) = answer { Ok(stat) } else { Err(Errno::IO) }
    }

    fn read_link(&self, path: &str) -> Result<String, Errno> {
        let answer = self.ask(&Ask::ReadLink(path.to_owned()))?.0;
        if let Answer::Target(target) = answer { Ok(target) } else { Err(Errno::IO) }
    }

    fn open(&self, path: &str, how: Open) -> Result<FileHandle, Errno> {
        let (answer, file) = self.ask(&Ask::Open(path.to_owned(), how))?;
        let Answer::File { content: held, readable, writable, quota } = answer else {
            return Err(Errno::IO);
        };
        let borrowed = |quota| -> Arc<dyn Charge> {
            Arc::new(BorrowedQuota { lender: self.lender.clone(), quota })
        };
        let quota = quota.map(borrowed);
        Ok(FileHandle { content: content(held, file)?, readable, writable, quota, slot: None })
    }

    fn list(&self, path: &str) -> Result<Vec<(String, Kind)>, Errno> {
        let answer = self.ask(&Ask::List(path.to_owned()))?.0;
        if let Answer::Names(names) = answer { Ok(names) } else { Err(Errno::IO) }
    }

    fn make_dir(&self, path: &str) -> Result<(), Errno> {
        self.done(&Ask::MakeDir(path.to_owned()))
    }

    fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        self.done(&Ask::RemoveDir(path.to_owned()))
    }

    fn unlink(&self, path: &str) -> Result<(), Errno> {
        self.done(&Ask::Unlink(path.to_owned()))
    }

    fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        self.done(&Ask::Symlink(target.to_owned(), path.to_owned()))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        self.done(&Ask::Rename(from.to_owned(), to.to_owned()))
    }

    fn link(&self, from: &str, to: &str) -> Result<(), Errno> {
        self.done(&Ask::Link(from.to_owned(), to.to_owned()))
    }

    fn set_times(&self, path: &str, times: Times) -> Result<(), Errno> {
        self.done(&Ask::SetTimes(path.to_owned(), times))
    }
}
