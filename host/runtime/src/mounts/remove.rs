//! Removes what guests left behind, however deep they nested it.
//!
//! A guest can move one deep directory into another as often as it likes, so no depth is too large
//! for a hostile tree, and no path to its end is short enough for the kernel. Nothing here recurses
//! or holds more than two directories open: what lies in a directory's directories is moved up
//! beside them first.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How a directory is called that was moved up.
const MOVED: &str = ".moved-";

/// Removes a directory and all that is in it. Links are removed, not followed. Blocking calls.
///
/// # Errors
/// What the file system says, `NotFound` too; what could be removed is gone then.
pub fn remove_tree(top: &Path) -> io::Result<()> {
    let dir = open(CWD, top)?;
    let mut moved = 0_u64;
    loop {
        let dirs = remove_files(dir.as_fd())?;
        if dirs.is_empty() {
            break;
        }
        for name in dirs {
            let below = open(dir.as_fd(), name.as_c_str())?;
            for inner in remove_files(below.as_fd())? {
                move_up(below.as_fd(), &inner, dir.as_fd(), &mut moved)?;
            }
            rustix::fs::unlinkat(&dir, name.as_c_str(), AtFlags::REMOVEDIR)?;
        }
    }
    Ok(rustix::fs::unlinkat(CWD, top, AtFlags::REMOVEDIR)?)
}

fn open(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// Removes all that is no directory, and names the directories.
fn remove_files(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut dirs = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if is_dir(dir, name, entry.file_type())? {
            dirs.push(name.to_owned());
        } else {
            rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
        }
    }
    Ok(dirs)
}

fn is_dir(dir: BorrowedFd<'_>, name: &CStr, told: FileType) -> Result<bool, Errno> {
    if told != FileType::Unknown {
        return Ok(told == FileType::Directory);
    }
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Moves a directory to a free name in `to`; guests may have taken some.
fn move_up(
    from: BorrowedFd<'_>,
    name: &CStr,
    to: BorrowedFd<'_>,
    moved: &mut u64,
) -> Result<(), Errno> {
    loop {
        *moved += 1;
        match rustix::fs::renameat(from, name, to, format!("{MOVED}{moved}")) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_links_and_taken_names_are_removed_and_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let (outside, top) = (folder.path().join("outside"), folder.path().join("top"));
        fs::create_dir_all(outside.join("kept")).unwrap();
        for path in ["a/b/c", ".moved-1/x", "d"] {
            fs::create_dir_all(top.join(path)).unwrap();
        }
        fs::write(top.join(".moved-2"), "a file").unwrap();
        fs::write(top.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, top.join("a/link")).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists() && outside.join("kept").is_dir());
        assert_eq!(remove_tree(&top).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn no_tree_is_too_deep() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut dir = open(CWD, &top).unwrap();
        for _ in 0..4_000 {
            rustix::fs::mkdirat(&dir, "d", Mode::from_raw_mode(0o755)).unwrap();
            dir = open(dir.as_fd(), "d").unwrap();
        }
        drop(dir);
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }
}
