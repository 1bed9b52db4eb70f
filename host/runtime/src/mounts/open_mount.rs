//! Opens what a grant names.

use super::file::Content;
use super::ground::Ground;
use super::lent::Borrowed;
use super::single::Single;
use super::stat::{Kind, Stat};
use super::table::{Mount, Source};
use super::volume::Volume;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// Opens a mount; `at` is where it appears in the tree.
pub(super) fn open(mount: &Mount, at: &str) -> Result<Box<dyn Ground>, Errno> {
    match &mount.source {
        Source::Dir(dir) => Ok(volume(mount, dir.clone())),
        Source::File(file) => Ok(single(mount, Content::Disk(file.clone()))),
        Source::Bytes(content) => {
            let stat = Stat::made_up(Kind::File, content.len() as u64, at);
            Ok(single(mount, Content::Memory(content.clone(), stat)))
        }
        Source::Lent(lender, index) => Ok(Box::new(Borrowed::mount(lender.clone(), *index))),
        Source::Host { base, sub_path } => open_host(mount, base, sub_path.as_deref()),
    }
}

fn volume(mount: &Mount, dir: Arc<OwnedFd>) -> Box<dyn Ground> {
    Box::new(Volume { dir, read_only: mount.read_only, quota: mount.quota.clone() })
}

fn single(mount: &Mount, content: Content) -> Box<dyn Ground> {
    Box::new(Single { content, read_only: mount.read_only, quota: mount.quota.clone() })
}

fn open_host(mount: &Mount, base: &Path, sub_path: Option<&str>) -> Result<Box<dyn Ground>, Errno> {
    let found = open_at(base, sub_path, OFlags::PATH)?;
    let kind = Stat::of_kernel(&rustix::fs::fstat(&found)?).kind;
    match kind {
        Kind::Directory => Ok(volume(mount, Arc::new(found))),
        Kind::File => {
            let access = if mount.read_only { OFlags::RDONLY } else { OFlags::RDWR };
            let file = File::from(open_at(base, sub_path, access | OFlags::NONBLOCK)?);
            // The name may have been given to something else in between.
            match Stat::of_kernel(&rustix::fs::fstat(&file)?).kind {
                Kind::File => Ok(single(mount, Content::Disk(Arc::new(file)))),
                Kind::Directory | Kind::Symlink | Kind::CharacterDevice | Kind::Other => {
                    Err(Errno::NXIO)
                }
            }
        }
        Kind::Symlink | Kind::CharacterDevice | Kind::Other => Err(Errno::NXIO),
    }
}

/// How often a path with `..` is resolved anew. The kernel gives up on one with `EAGAIN` whenever
/// anything on the machine is renamed meanwhile, because it cannot tell whether `..` led out.
/// *Source:* openat2(2).
const OPEN_TRIES: usize = 256;

/// Opens a trusted path, or a guest's path beneath it: links there may lead anywhere in the volume
/// and nowhere else.
fn open_at(base: &Path, sub_path: Option<&str>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let Some(sub_path) = sub_path else {
        return rustix::fs::openat(CWD, base, flags, Mode::empty());
    };
    let dir_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let volume = rustix::fs::openat(CWD, base, dir_flags, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut result = Err(Errno::AGAIN);
    for _try in 0..OPEN_TRIES {
        result = rustix::fs::openat2(&volume, sub_path, flags, Mode::empty(), resolve);
        if result.as_ref().err() != Some(&Errno::AGAIN) {
            break;
        }
    }
    result
}
