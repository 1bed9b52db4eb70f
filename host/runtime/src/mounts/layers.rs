//! One instance's view of the root layer: copy-up over made-up files over the image.

use super::aside::aside;
use super::disk;
use super::file::{Content, FileHandle};
use super::ground::{Ground, Open, Times};
use super::orphans;
use super::path;
use super::quota::charged;
use super::root::{Root, errno};
use super::stat::{Kind, Stat};
use super::table::MountTable;
use super::volume;
use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

/// The one device that every container has.
const NULL: &str = "dev/null";

/// The layer that an entry comes from.
enum Layer {
    /// The guest's own.
    Upper,
    /// A file in memory.
    Memory(Bytes),
    /// A directory that is there even when empty.
    Implied,
    /// `/dev/null`.
    Null,
    /// The image.
    Image,
}

/// The root layer with what this instance has open of it.
pub(super) struct Layers {
    table: MountTable,
    image: OnceLock<OwnedFd>,
    upper: OnceLock<OwnedFd>,
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

/// Opens a directory once.
fn opened<'a>(cell: &'a OnceLock<OwnedFd>, path: &Path) -> Result<BorrowedFd<'a>, Errno> {
    if let Some(dir) = cell.get() {
        return Ok(dir.as_fd());
    }
    let dir = open_dir(path)?;
    Ok(cell.get_or_init(|| dir).as_fd())
}

/// A link on the way means that a lower layer's link is hidden by a directory above it.
fn absent(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

impl Layers {
    pub(super) fn new(table: MountTable) -> Layers {
        Layers { table, image: OnceLock::new(), upper: OnceLock::new() }
    }

    fn root(&self) -> &Root {
        &self.table.0.root
    }

    fn image(&self) -> Result<Option<BorrowedFd<'_>>, Errno> {
        self.root().image.as_ref().map(|image| opened(&self.image, image)).transpose()
    }

    fn upper(&self) -> Result<Option<BorrowedFd<'_>>, Errno> {
        self.root().upper().map(|upper| opened(&self.upper, &upper)).transpose()
    }

    /// The copy-up layer, made when needed. Called with `changes` held.
    fn made_upper(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.root().make_upper()?;
        self.upper()?.ok_or(Errno::ROFS)
    }

    fn find(&self, path: &str) -> Result<(Layer, Stat), Errno> {
        if let Some(upper) = self.upper()?
            && path != "."
        {
            match disk::stat(upper, path) {
                Ok(stat) => return Ok((Layer::Upper, stat)),
                Err(error) if absent(error) => {}
                Err(error) => return Err(error),
            }
        }
        self.find_lower(path)?.ok_or(Errno::NOENT)
    }

    /// The entry that is there without the guest's doing, unless the guest removed it.
    fn find_lower(&self, path: &str) -> Result<Option<(Layer, Stat)>, Errno> {
        let root = self.root();
        let implied = |path| Some((Layer::Implied, Stat::made_up(Kind::Directory, 0, path)));
        if path == "." {
            return Ok(implied(path));
        }
        if root.is_gone(path) {
            return Ok(None);
        }
        if path == NULL {
            let stat = Stat::made_up(Kind::CharacterDevice, 0, path);
            return Ok(Some((Layer::Null, stat)));
        }
        if let Some(content) = root.files.get(path) {
            let stat = Stat::made_up(Kind::File, content.len() as u64, path);
            return Ok(Some((Layer::Memory(content.clone()), stat)));
        }
        if root.dirs.contains(path) {
            return Ok(implied(path));
        }
        let Some(image) = self.image()? else { return Ok(None) };
        match disk::stat(image, path) {
            Ok(stat) => Ok(Some((Layer::Image, stat))),
            Err(error) if absent(error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the directory and those above it in the copy-up layer.
    fn copy_up_dir(&self, path: &str) -> Result<(), Errno> {
        let upper = self.made_upper()?;
        if path == "." || disk::stat(upper, path).is_ok_and(|stat| stat.kind == Kind::Directory) {
            return Ok(());
        }
        if self.find(path)?.1.kind != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        if let Some((parent, _)) = path::split(path) {
            self.copy_up_dir(parent)?;
        }
        disk::make_dir(upper, path)
    }

    /// Makes the directories above a path in the copy-up layer.
    fn copy_up_parent(&self, path: &str) -> Result<(), Errno> {
        path::split(path).map_or(Ok(()), |(parent, _)| self.copy_up_dir(parent))
    }

    /// Moves an entry into the copy-up layer; `keep` says whether its content matters.
    fn copy_up(&self, path: &str, keep: Keep) -> Result<(), Errno> {
        let (layer, stat) = self.find(path)?;
        if matches!(layer, Layer::Upper) {
            return Ok(());
        }
        if stat.kind == Kind::Directory {
            return self.copy_up_dir(path);
        }
        self.copy_up_parent(path)?;
        match (layer, stat.kind, keep) {
            (Layer::Image, Kind::Symlink, _) => {
                let image = self.image()?.ok_or(Errno::NOENT)?;
                disk::symlink(&disk::read_link(image, path)?, self.made_upper()?, path)
            }
            (Layer::Image | Layer::Memory(_), Kind::File, Keep::Nothing) => {
                self.place(path, 0, |_| Ok(()))
            }
            (Layer::Image, Kind::File, Keep::Content) => {
                let image = self.image()?.ok_or(Errno::NOENT)?;
                let (mut from, stat) = disk::open_file(image, path, OFlags::RDONLY)?;
                let copy = |to: &mut File| aside(|| std::io::copy(&mut from, to)).map(|_| ());
                self.place(path, stat.size, copy)
            }
            (Layer::Memory(content), Kind::File, Keep::Content) => {
                self.place(path, content.len() as u64, |to| to.write_all(&content))
            }
            (Layer::Image | Layer::Memory(_) | Layer::Null | Layer::Implied | Layer::Upper, ..) => {
                Err(Errno::PERM)
            }
        }
    }

    /// Fills a new file aside, then lets it appear in the copy-up layer at once.
    fn place(
        &self,
        path: &str,
        bytes: u64,
        fill: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<(), Errno> {
        let upper = self.made_upper()?;
        let quota = self.root().quota.as_ref();
        if quota.is_some_and(|quota| !quota.charge(bytes)) {
            return Err(Errno::NOSPC);
        }
        let place = || {
            let work = open_dir(&self.root().work().ok_or(Errno::ROFS)?)?;
            // One at a time: `changes` is held.
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
            let (mut file, _) = disk::open_file(work.as_fd(), "copy", flags)?;
            fill(&mut file).map_err(|error| errno(&error))?;
            disk::rename(work.as_fd(), "copy", upper, path)
        };
        let placed = charged(quota, place);
        if let (Err(_), Some(quota)) = (&placed, quota) {
            quota.release(bytes);
        }
        placed
    }

    /// Removes the guest's own entry and hides what lies under it.
    fn remove(
        &self,
        path: &str,
        layer: &Layer,
        remove: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let upper = self.made_upper()?;
        if matches!(layer, Layer::Upper) {
            let gone = volume::last_name(self.root().quota.is_some(), upper, path);
            remove(upper)?;
            if let Some(quota) = &self.root().quota {
                orphans::release(gone, quota);
                quota.release_entry();
            }
        }
        if self.find_lower(path)?.is_some() {
            self.root().hide(path);
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<(), Errno> {
        if self.root().is_read_only() { Err(Errno::ROFS) } else { Ok(()) }
    }

    /// Refuses a path where something is.
    fn check_free(&self, path: &str) -> Result<(), Errno> {
        match self.find(path) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => self.check_writable(),
            Err(error) => Err(error),
        }
    }

    /// Opens in the copy-up layer, whereto everything needed has been moved.
    fn open_upper(&self, path: &str, how: Open) -> Result<FileHandle, Errno> {
        volume::open_charged(self.made_upper()?, path, how, self.root().quota.as_ref())
    }

    fn open_lower(
        &self,
        path: &str,
        layer: Layer,
        stat: Stat,
        how: Open,
    ) -> Result<FileHandle, Errno> {
        let content = match layer {
            Layer::Null => Content::Null(stat),
            Layer::Memory(content) => Content::Memory(content, stat),
            Layer::Upper => return self.open_upper(path, how),
            Layer::Image => {
                let image = self.image()?.ok_or(Errno::NOENT)?;
                let how = Open { create: false, ..how };
                return volume::open_charged(image, path, how, None);
            }
            Layer::Implied => return Err(Errno::ISDIR),
        };
        Ok(FileHandle { content, readable: how.read, writable: how.write, quota: None, slot: None })
    }

    /// Makes room for a rename, as the kernel would.
    fn check_rename(&self, from: Kind, to: &str) -> Result<(), Errno> {
        let target = match self.find(to) {
            Ok((_, stat)) => stat.kind,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        match (from, target) {
            (Kind::Directory, Kind::Directory) => self.remove_dir_now(to),
            (Kind::Directory, _) => Err(Errno::NOTDIR),
            (_, Kind::Directory) => Err(Errno::ISDIR),
            (_, _) => Ok(()),
        }
    }

    fn remove_dir_now(&self, path: &str) -> Result<(), Errno> {
        let (layer, stat) = self.find(path)?;
        if stat.kind != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        if !self.list(path)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.remove(path, &layer, |upper| disk::remove_dir(upper, path))
    }

    /// The entries of a directory that are there without the guest's doing.
    fn list_lower(&self, path: &str) -> Result<BTreeMap<String, Kind>, Errno> {
        let root = self.root();
        let prefix = if path == "." { String::new() } else { format!("{path}/") };
        let mut entries = BTreeMap::new();
        if let Some(image) = self.image()? {
            match disk::list(image, path) {
                Ok(listed) => entries.extend(listed),
                Err(error) if absent(error) => {}
                Err(error) => return Err(error),
            }
        }
        let child = |path: &str| {
            let name = path.strip_prefix(prefix.as_str())?;
            (!name.contains('/') && !name.is_empty()).then(|| name.to_owned())
        };
        let dirs = root.dirs.iter().filter_map(|dir| child(dir)).map(|dir| (dir, Kind::Directory));
        entries.extend(dirs);
        let files = root.files.keys().filter_map(|file| child(file)).map(|file| (file, Kind::File));
        entries.extend(files);
        entries.extend(child(NULL).map(|null| (null, Kind::CharacterDevice)));
        entries.retain(|name, _| !root.is_gone(&format!("{prefix}{name}")));
        Ok(entries)
    }
}

/// What a file that is moved up needs.
#[derive(Clone, Copy)]
enum Keep {
    Content,
    Nothing,
}

impl Ground for Layers {
    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        Ok(self.find(path)?.1)
    }

    fn read_link(&self, path: &str) -> Result<String, Errno> {
        let dir = match self.find(path)?.0 {
            Layer::Upper => self.upper()?,
            Layer::Image => self.image()?,
            Layer::Memory(_) | Layer::Implied | Layer::Null => None,
        };
        disk::read_link(dir.ok_or(Errno::INVAL)?, path)
    }

    fn open(&self, path: &str, how: Open) -> Result<FileHandle, Errno> {
        let found = match self.find(path) {
            Err(Errno::NOENT) if how.create => None,
            result => Some(result?),
        };
        let Some((layer, stat)) = found else {
            self.check_writable()?;
            let _changing = self.root().changes.lock();
            self.copy_up_parent(path)?;
            return self.open_upper(path, how);
        };
        if how.create && how.exclusive {
            return Err(Errno::EXIST);
        }
        if matches!(layer, Layer::Null) || !(how.write || how.truncate) {
            return self.open_lower(path, layer, stat, how);
        }
        self.check_writable()?;
        if !matches!(layer, Layer::Upper) {
            let _changing = self.root().changes.lock();
            self.copy_up(path, if how.truncate { Keep::Nothing } else { Keep::Content })?;
        }
        self.open_upper(path, how)
    }

    fn list(&self, path: &str) -> Result<Vec<(String, Kind)>, Errno> {
        if self.find(path)?.1.kind != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        let mut entries =
            if self.root().is_gone(path) { BTreeMap::new() } else { self.list_lower(path)? };
        if let Some(upper) = self.upper()? {
            match disk::list(upper, path) {
                Ok(listed) => entries.extend(listed),
                Err(error) if absent(error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries.into_iter().collect())
    }

    fn make_dir(&self, path: &str) -> Result<(), Errno> {
        self.check_free(path)?;
        let _changing = self.root().changes.lock();
        self.copy_up_parent(path)?;
        let upper = self.made_upper()?;
        charged(self.root().quota.as_ref(), || disk::make_dir(upper, path))
    }

    fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        if path == "." {
            return Err(Errno::BUSY);
        }
        self.find(path)?;
        self.check_writable()?;
        let _changing = self.root().changes.lock();
        self.remove_dir_now(path)
    }

    fn unlink(&self, path: &str) -> Result<(), Errno> {
        if self.find(path)?.1.kind == Kind::Directory {
            return Err(Errno::ISDIR);
        }
        self.check_writable()?;
        let _changing = self.root().changes.lock();
        let (layer, _) = self.find(path)?;
        self.remove(path, &layer, |upper| disk::unlink(upper, path))
    }

    fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        self.check_free(path)?;
        let _changing = self.root().changes.lock();
        self.copy_up_parent(path)?;
        let upper = self.made_upper()?;
        charged(self.root().quota.as_ref(), || disk::symlink(target, upper, path))
    }

    /// A directory that has a part in a lower layer cannot be renamed (`EXDEV`, as overlayfs says);
    /// callers copy then.
    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let (_, stat) = self.find(from)?;
        self.check_writable()?;
        if from == to {
            return Ok(());
        }
        if stat.kind == Kind::Directory && to.starts_with(&format!("{from}/")) {
            return Err(Errno::INVAL);
        }
        let _changing = self.root().changes.lock();
        let below = self.find_lower(from)?.is_some();
        if stat.kind == Kind::Directory && below {
            return Err(Errno::XDEV);
        }
        self.copy_up(from, Keep::Content)?;
        self.copy_up_parent(to)?;
        self.check_rename(stat.kind, to)?;
        let upper = self.made_upper()?;
        let [source, target] = [from, to].map(|path| disk::stat(upper, path).ok());
        let is_replaced =
            target.is_some_and(|to| source.is_some_and(|from| from.identity != to.identity));
        let gone = volume::last_name(is_replaced && self.root().quota.is_some(), upper, to);
        disk::rename(upper, from, upper, to)?;
        if let Some(quota) = self.root().quota.as_ref().filter(|_| is_replaced) {
            orphans::release(gone, quota);
            quota.release_entry();
        }
        if below {
            self.root().hide(from);
        }
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> Result<(), Errno> {
        if self.find(from)?.1.kind == Kind::Directory {
            return Err(Errno::PERM);
        }
        self.check_free(to)?;
        let _changing = self.root().changes.lock();
        self.copy_up(from, Keep::Content)?;
        self.copy_up_parent(to)?;
        let upper = self.made_upper()?;
        charged(self.root().quota.as_ref(), || disk::link(upper, from, to))
    }

    fn set_times(&self, path: &str, times: Times) -> Result<(), Errno> {
        let (layer, _) = self.find(path)?;
        if matches!(layer, Layer::Null) || path == "." {
            return Ok(());
        }
        self.check_writable()?;
        let _changing = self.root().changes.lock();
        self.copy_up(path, Keep::Content)?;
        disk::set_times(self.made_upper()?, path, &times.into())
    }
}
