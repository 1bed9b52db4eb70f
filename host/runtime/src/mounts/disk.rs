//! Steps on the host's disk, each beneath an open directory and through no link.
//!
//! A path here has no links and no `..`; should a guest put a link there meanwhile, the step fails
//! with `ELOOP` instead of following it.

use super::path;
use super::stat::{Kind, Stat};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Opens beneath `dir`.
pub(super) fn open(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::openat2(dir, path, flags, mode, resolve) {
        // A kernel before 5.6, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) if !path.is_empty() => {
            open_by_steps(dir, path, flags, mode)
        }
        result => result,
    }
}

/// The same, name by name.
fn open_by_steps(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let Some((parent, name)) = path::split(path) else {
        return rustix::fs::openat(dir, ".", flags, mode);
    };
    let mut current: Option<OwnedFd> = None;
    for step in path::names(parent) {
        let from = current.as_ref().map_or(dir, AsFd::as_fd);
        let step_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        current = Some(rustix::fs::openat(from, step, step_flags, Mode::empty())?);
    }
    rustix::fs::openat(current.as_ref().map_or(dir, AsFd::as_fd), name, flags, mode)
}

/// The directory that holds the last name, and that name.
fn parent<'a>(dir: BorrowedFd<'_>, path: &'a str) -> Result<(OwnedFd, &'a str), Errno> {
    let (parent, name) = path::split(path).ok_or(Errno::BUSY)?;
    let parent = open(dir, parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    Ok((parent, name))
}

pub(super) fn stat(dir: BorrowedFd<'_>, path: &str) -> Result<Stat, Errno> {
    let found = open(dir, path, OFlags::PATH, Mode::empty())?;
    Ok(Stat::of_kernel(&rustix::fs::fstat(found)?))
}

pub(super) fn read_link(dir: BorrowedFd<'_>, path: &str) -> Result<String, Errno> {
    let (parent, name) = parent(dir, path)?;
    let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
    target.into_string().map_err(|_| Errno::ILSEQ)
}

/// Opens a regular file. Others are refused: opening a pipe or a device can block or do things.
pub(super) fn open_file(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
) -> Result<(File, Stat), Errno> {
    let mode = Mode::from_raw_mode(0o666);
    let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
    let file = open(dir, path, flags | OFlags::NONBLOCK | OFlags::NOCTTY, mode)?;
    let stat = Stat::of_kernel(&rustix::fs::fstat(&file)?);
    match stat.kind {
        Kind::File => Ok((file.into(), stat)),
        Kind::Directory => Err(Errno::ISDIR),
        Kind::Symlink => Err(Errno::LOOP),
        Kind::CharacterDevice | Kind::Other => Err(Errno::NXIO),
    }
}

pub(super) fn list(dir: BorrowedFd<'_>, path: &str) -> Result<Vec<(String, Kind)>, Errno> {
    let opened = open(dir, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut entries = Vec::new();
    for entry in rustix::fs::Dir::read_from(&opened)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let mut kind = entry.file_type().into();
        if entry.file_type() == FileType::Unknown {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let found = rustix::fs::statat(&opened, entry.file_name(), flags);
            kind = found.map_or(Kind::Other, |stat| Stat::of_kernel(&stat).kind);
        }
        entries.push((name, kind));
    }
    Ok(entries)
}

pub(super) fn make_dir(dir: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let (parent, name) = parent(dir, path).map_err(exists_if_self)?;
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o777))
}

pub(super) fn remove_dir(dir: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let (parent, name) = parent(dir, path)?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

pub(super) fn unlink(dir: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let (parent, name) = parent(dir, path)?;
    rustix::fs::unlinkat(parent, name, AtFlags::empty())
}

pub(super) fn symlink(target: &str, dir: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let (parent, name) = parent(dir, path).map_err(exists_if_self)?;
    rustix::fs::symlinkat(target, parent, name)
}

pub(super) fn rename(
    from_dir: BorrowedFd<'_>,
    from: &str,
    to_dir: BorrowedFd<'_>,
    to: &str,
) -> Result<(), Errno> {
    let (from_parent, from_name) = parent(from_dir, from)?;
    let (to_parent, to_name) = parent(to_dir, to)?;
    rustix::fs::renameat(from_parent, from_name, to_parent, to_name)
}

pub(super) fn link(dir: BorrowedFd<'_>, from: &str, to: &str) -> Result<(), Errno> {
    let (from_parent, from_name) = parent(dir, from)?;
    let (to_parent, to_name) = parent(dir, to).map_err(exists_if_self)?;
    rustix::fs::linkat(from_parent, from_name, to_parent, to_name, AtFlags::empty())
}

pub(super) fn set_times(
    dir: BorrowedFd<'_>,
    path: &str,
    times: &rustix::fs::Timestamps,
) -> Result<(), Errno> {
    let (parent, name) = match path::split(path) {
        Some(_) => parent(dir, path)?,
        None => (open(dir, ".", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?, "."),
    };
    rustix::fs::utimensat(parent, name, times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Making what a mount point is already gives `EEXIST`, not `EBUSY`.
fn exists_if_self(error: Errno) -> Errno {
    if error == Errno::BUSY { Errno::EXIST } else { error }
}
