//! One instance's view of the container's files.

use super::file::{Content, FileHandle, Slot};
use super::ground::{Ground, Open, Times};
use super::layers::Layers;
use super::lent::Borrowed;
use super::open_mount;
use super::path;
use super::quota::Charge;
use super::stat::{Kind, Stat};
use super::table::MountTable;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Most links that one path leads through. *Source:* Linux `MAXSYMLINKS`.
const LINKS_MAX: usize = 40;

/// Most names that one path leads through, those of its links included. A path of the longest kind has
/// half as many; chains of links could make one call take a second, in which nobody else runs on the
/// thread.
const NAMES_MAX: usize = 4096;

/// Most entries of a listing, which is held in memory as a whole.
const LISTING_ENTRIES_MAX: usize = 1_000_000;

/// Bytes that a listing holds for each entry, besides its name.
const LISTED_BYTES: u64 = size_of::<(String, Kind)>() as u64;

/// The files of a container as one instance sees them. It opens mounts when they are first used, so
/// an instance that touches no file holds no descriptor. All calls act at once.
///
/// A path starts at a directory `base`, or at `/` when it is absolute; `..` of `/` is `/`. Errors
/// are those of the system call of the same name on Linux.
pub struct Tree {
    table: MountTable,
    root: Box<dyn Ground>,
    mounts: Vec<OnceLock<Box<dyn Ground>>>,
    memory: Option<Arc<dyn Charge>>,
}

/// The entries of a directory that are still to be told, charged as memory until it is dropped.
pub struct Listing {
    entries: std::vec::IntoIter<(String, Kind)>,
    charged: Option<(Arc<dyn Charge>, u64)>,
}

impl Iterator for Listing {
    type Item = (String, Kind);

    fn next(&mut self) -> Option<(String, Kind)> {
        self.entries.next()
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        if let Some((memory, bytes)) = self.charged.take() {
            memory.release(bytes);
        }
    }
}

/// An open directory: its own path, without links and `..`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirHandle(Vec<String>);

/// What opening a path gives.
#[derive(Clone, Debug)]
pub enum Handle {
    /// A file.
    File(FileHandle),
    /// A directory.
    Dir(DirHandle),
}

/// A place in the tree.
struct Spot<'a> {
    ground: &'a dyn Ground,
    /// Relative to the mount.
    path: String,
    /// The mount, `None` for the root layer.
    mount: Option<usize>,
}

impl Tree {
    /// A view of `table` with nothing opened yet.
    #[must_use]
    pub fn new(table: MountTable) -> Tree {
        let mounts = table.0.placed.iter().map(|_| OnceLock::new()).collect();
        let root: Box<dyn Ground> = match &table.0.lender {
            Some(lender) => Box::new(Borrowed::root(lender.clone())),
            None => Box::new(Layers::new(table.clone())),
        };
        Tree { root, table, mounts, memory: None }
    }

    /// Charges `memory` for what the tree holds on behalf of its guest.
    #[must_use]
    pub fn charging(self, memory: Arc<dyn Charge>) -> Tree {
        Tree { memory: Some(memory), ..self }
    }

    /// The directory `/`.
    #[must_use]
    pub fn root(&self) -> DirHandle {
        DirHandle::default()
    }

    /// Opens a file or directory, or makes a file.
    ///
    /// # Errors
    /// As `openat`; `ENXIO` for devices, pipes and sockets in a volume, `EMFILE` when the container
    /// has too many files open.
    pub fn open(
        &self,
        base: &DirHandle,
        path: &str,
        follow: bool,
        how: Open,
    ) -> Result<Handle, Errno> {
        // What must be new is never a link's target.
        let follow = follow && !(how.create && how.exclusive);
        let (at, directory) = self.resolve(base, path, follow)?;
        let directory = directory || how.directory;
        let found = match self.stat_place(&at) {
            Err(Errno::NOENT) if how.create && !directory => None,
            result => Some(result?),
        };
        match found.map(|stat| stat.kind) {
            Some(_) if how.create && how.exclusive => return Err(Errno::EXIST),
            Some(Kind::Directory) if how.write || how.truncate => return Err(Errno::ISDIR),
            Some(Kind::Directory) => return Ok(Handle::Dir(DirHandle(at))),
            Some(_) if directory => return Err(Errno::NOTDIR),
            Some(Kind::Symlink) => return Err(Errno::LOOP),
            Some(Kind::File | Kind::CharacterDevice | Kind::Other) | None => {}
        }
        let slot = Slot::take(&self.table.0.files)?;
        let spot = self.spot(&at)?;
        let file = spot.ground.open(&spot.path, how)?;
        let slot = file.is_on_disk().then(|| Arc::new(slot));
        Ok(Handle::File(FileHandle { slot, ..file }))
    }

    /// Facts about what is at a path.
    ///
    /// # Errors
    /// As `fstatat`.
    pub fn stat(&self, base: &DirHandle, path: &str, follow: bool) -> Result<Stat, Errno> {
        let (at, directory) = self.resolve(base, path, follow)?;
        let stat = self.stat_place(&at)?;
        if directory && stat.kind != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        Ok(stat)
    }

    /// Facts about an open directory.
    ///
    /// # Errors
    /// As `fstat`; `ENOENT` when it was removed.
    pub fn stat_dir(&self, dir: &DirHandle) -> Result<Stat, Errno> {
        self.stat_place(&dir.0)
    }

    /// Where a link leads.
    ///
    /// # Errors
    /// As `readlinkat`.
    pub fn read_link(&self, base: &DirHandle, path: &str) -> Result<String, Errno> {
        let (at, _) = self.resolve(base, path, false)?;
        if self.stat_place(&at)?.kind != Kind::Symlink {
            return Err(Errno::INVAL);
        }
        let spot = self.spot(&at)?;
        spot.ground.read_link(&spot.path)
    }

    /// The entries of a directory in order of their names, mount points included, without `.` and
    /// `..`.
    ///
    /// # Errors
    /// As `getdents`.
    pub fn list(&self, dir: &DirHandle) -> Result<Vec<(String, Kind)>, Errno> {
        let below = self.mounts_below(&dir.0);
        let spot = self.spot(&dir.0)?;
        let mut entries: BTreeMap<String, Kind> = match spot.ground.list(&spot.path) {
            Ok(entries) => entries.into_iter().collect(),
            Err(Errno::NOENT) if !below.is_empty() => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        entries.extend(below);
        Ok(entries.into_iter().collect())
    }

    /// The same, to be told entry by entry.
    ///
    /// # Errors
    /// As [`Tree::list`], and `ENOMEM` when the entries are too many or the container's memory does
    /// not suffice for them.
    pub fn listing(&self, dir: &DirHandle) -> Result<Listing, Errno> {
        let entries = self.list(dir)?;
        if entries.len() > LISTING_ENTRIES_MAX {
            return Err(Errno::NOMEM);
        }
        let names = entries.iter().map(|(name, _)| name.capacity() as u64 + LISTED_BYTES);
        let bytes = names.sum();
        let charged = match &self.memory {
            Some(memory) if memory.charge(bytes) => Some((memory.clone(), bytes)),
            Some(_) => return Err(Errno::NOMEM),
            None => None,
        };
        Ok(Listing { entries: entries.into_iter(), charged })
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As `mkdirat`.
    pub fn make_dir(&self, base: &DirHandle, path: &str) -> Result<(), Errno> {
        let at = self.resolve_entry(base, path)?;
        if self.leads_to_mount(&at) {
            return Err(Errno::EXIST);
        }
        let spot = self.spot(&at)?;
        spot.ground.make_dir(&spot.path)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As `unlinkat` with `AT_REMOVEDIR`; `EBUSY` for a mount point and what leads to one.
    pub fn remove_dir(&self, base: &DirHandle, path: &str) -> Result<(), Errno> {
        let at = self.resolve_entry(base, path)?;
        self.check_not_busy(&at)?;
        let spot = self.spot(&at)?;
        spot.ground.remove_dir(&spot.path)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// As `unlinkat`; `EBUSY` for a mount point.
    pub fn unlink(&self, base: &DirHandle, path: &str) -> Result<(), Errno> {
        let (at, directory) = self.resolve(base, path, false)?;
        if directory {
            let is_dir = self.stat_place(&at)?.kind == Kind::Directory;
            return Err(if is_dir { Errno::ISDIR } else { Errno::NOTDIR });
        }
        self.check_not_busy(&at)?;
        let spot = self.spot(&at)?;
        spot.ground.unlink(&spot.path)
    }

    /// Makes a link.
    ///
    /// # Errors
    /// As `symlinkat`.
    pub fn symlink(&self, target: &str, base: &DirHandle, path: &str) -> Result<(), Errno> {
        path::check(target)?;
        let (at, directory) = self.resolve(base, path, false)?;
        if directory {
            return Err(Errno::NOENT);
        }
        if self.leads_to_mount(&at) {
            return Err(Errno::EXIST);
        }
        let spot = self.spot(&at)?;
        spot.ground.symlink(target, &spot.path)
    }

    /// Gives a file or directory another name.
    ///
    /// # Errors
    /// As `renameat`; `EXDEV` between two mounts, `EBUSY` for a mount point and what leads to one.
    pub fn rename(
        &self,
        from_base: &DirHandle,
        from: &str,
        to_base: &DirHandle,
        to: &str,
    ) -> Result<(), Errno> {
        let from = self.resolve_entry(from_base, from)?;
        let to = self.resolve_entry(to_base, to)?;
        self.check_not_busy(&from)?;
        self.check_not_busy(&to)?;
        let (from, to) = (self.spot(&from)?, self.spot(&to)?);
        if from.mount != to.mount {
            return Err(Errno::XDEV);
        }
        from.ground.rename(&from.path, &to.path)
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// As `linkat`; `EXDEV` between two mounts.
    pub fn link(
        &self,
        from_base: &DirHandle,
        from: &str,
        to_base: &DirHandle,
        to: &str,
    ) -> Result<(), Errno> {
        let (from, _) = self.resolve(from_base, from, false)?;
        let (to, _) = self.resolve(to_base, to, false)?;
        let (from, to) = (self.spot(&from)?, self.spot(&to)?);
        if from.mount != to.mount {
            return Err(Errno::XDEV);
        }
        from.ground.link(&from.path, &to.path)
    }

    /// Sets times.
    ///
    /// # Errors
    /// As `utimensat`.
    pub fn set_times(
        &self,
        base: &DirHandle,
        path: &str,
        follow: bool,
        times: Times,
    ) -> Result<(), Errno> {
        let (at, _) = self.resolve(base, path, follow)?;
        let spot = self.spot(&at)?;
        spot.ground.set_times(&spot.path, times)
    }

    /// Sets the times of an open directory.
    ///
    /// # Errors
    /// As `futimens`.
    pub fn set_times_dir(&self, dir: &DirHandle, times: Times) -> Result<(), Errno> {
        let spot = self.spot(&dir.0)?;
        spot.ground.set_times(&spot.path, times)
    }

    /// The path without links and `..`, and whether it must be a directory. What it names need not
    /// exist, the directory that holds it must.
    fn resolve(
        &self,
        base: &DirHandle,
        path: &str,
        follow: bool,
    ) -> Result<(Vec<String>, bool), Errno> {
        path::check(path)?;
        let directory = path.ends_with('/') || path.ends_with("/.") || path == ".";
        let mut at = if path.starts_with('/') { Vec::new() } else { base.0.clone() };
        if !path::names(path).any(|name| name == "..") {
            let mut plain = at.clone();
            plain.extend(path::names(path).map(str::to_owned));
            if self.stat_place(&plain).is_ok_and(|stat| stat.kind != Kind::Symlink) {
                return Ok((plain, directory));
            }
        }
        let mut rest: Vec<String> = path::names(path).rev().map(str::to_owned).collect();
        let (mut links, mut names) = (0, 0);
        while let Some(name) = rest.pop() {
            names += 1;
            if names > NAMES_MAX {
                return Err(Errno::LOOP);
            }
            if name == ".." {
                at.pop();
                continue;
            }
            at.push(name);
            let last = rest.is_empty();
            let kind = match self.stat_place(&at) {
                Err(Errno::NOENT) if last => break,
                result => result?.kind,
            };
            if kind == Kind::Symlink && (!last || follow || directory) {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                self.follow(&mut at, &mut rest)?;
            } else if kind != Kind::Directory && !last {
                return Err(Errno::NOTDIR);
            }
        }
        Ok((at, directory))
    }

    /// Puts a link's target in the place of the link.
    fn follow(&self, at: &mut Vec<String>, rest: &mut Vec<String>) -> Result<(), Errno> {
        let spot = self.spot(at)?;
        let target = spot.ground.read_link(&spot.path)?;
        at.pop();
        if target.starts_with('/') {
            at.clear();
        }
        rest.extend(path::names(&target).rev().map(str::to_owned));
        Ok(())
    }

    /// The path of an entry that is made, removed or renamed: never a link's target, and neither
    /// `/` nor a name that ends in `.` or `..`.
    fn resolve_entry(&self, base: &DirHandle, path: &str) -> Result<Vec<String>, Errno> {
        let trimmed = path.trim_end_matches('/');
        path::check(path)?;
        if trimmed.is_empty() {
            return Err(Errno::BUSY);
        }
        if trimmed == "." || trimmed.ends_with("/.") {
            return Err(Errno::INVAL);
        }
        if trimmed == ".." || trimmed.ends_with("/..") {
            return Err(Errno::NOTEMPTY);
        }
        Ok(self.resolve(base, trimmed, false)?.0)
    }

    fn stat_place(&self, at: &[String]) -> Result<Stat, Errno> {
        let implied = || {
            let path = path::relative(at);
            self.leads_to_mount(at).then(|| Stat::made_up(Kind::Directory, 0, &path))
        };
        let spot = self.spot(at)?;
        match spot.ground.stat(&spot.path) {
            Ok(stat) if stat.kind == Kind::Symlink => Ok(implied().unwrap_or(stat)),
            Ok(stat) => Ok(stat),
            Err(error @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => implied().ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// The deepest mount that holds the path.
    fn spot(&self, at: &[String]) -> Result<Spot<'_>, Errno> {
        let placed = &self.table.0.placed;
        let Some((index, found)) =
            placed.iter().enumerate().find(|(_, placed)| at.starts_with(&placed.at))
        else {
            return Ok(Spot { ground: &*self.root, path: path::relative(at), mount: None });
        };
        let below = at.get(found.at.len()..).unwrap_or_default();
        let cell = self.mounts.get(index).ok_or(Errno::NOENT)?;
        let ground = match cell.get() {
            Some(ground) => ground,
            None => {
                let opened = open_mount::open(&found.mount, &path::relative(&found.at))?;
                cell.get_or_init(|| opened)
            }
        };
        Ok(Spot { ground: &**ground, path: path::relative(below), mount: Some(index) })
    }

    /// Whether the path is above a mount point.
    fn leads_to_mount(&self, at: &[String]) -> bool {
        let placed = &self.table.0.placed;
        placed.iter().any(|placed| placed.at.len() > at.len() && placed.at.starts_with(at))
    }

    fn check_not_busy(&self, at: &[String]) -> Result<(), Errno> {
        let placed = &self.table.0.placed;
        let busy = placed.iter().any(|placed| placed.at.starts_with(at));
        if busy { Err(Errno::BUSY) } else { Ok(()) }
    }

    /// The entries of a directory that are or lead to mount points.
    fn mounts_below(&self, at: &[String]) -> BTreeMap<String, Kind> {
        let placed = self.table.0.placed.iter();
        let below = placed.filter(|placed| placed.at.len() > at.len() && placed.at.starts_with(at));
        below
            .filter_map(|placed| {
                let end = at.len() + 1;
                let point = placed.at.get(..end)?;
                let kind = if placed.at.len() == end {
                    self.stat_place(point).map_or(Kind::Other, |stat| stat.kind)
                } else {
                    Kind::Directory
                };
                Some((point.last()?.clone(), kind))
            })
            .collect()
    }
}

impl FileHandle {
    /// Whether its content is on the host's disk.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        matches!(self.content, Content::Disk(_))
    }
}
