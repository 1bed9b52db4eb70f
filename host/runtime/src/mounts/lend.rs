//! A container's table, for another process that may not open files itself.
//!
//! What comes in is not trusted: a path must be what [`Tree`](super::Tree) makes of guests' paths,
//! and every step is then taken beneath the mount's directory with the mount's own rights, as for a
//! guest in this process.

use super::file::{Content as FileContent, FileHandle};
use super::ground::Ground;
use super::layers::Layers;
use super::lent::{Answer, Ask, Content};
use super::open_mount;
use super::path;
use super::quota::Charge;
use super::table::MountTable;
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Open files that are charged: somewhat more than a container may have open, because one is told of
/// as closed after the next was opened.
const CHARGED_MAX: usize = 2048;

/// An answer, with what comes with it.
pub(crate) struct Reply {
    /// The answer itself.
    pub(crate) answer: Answer,
    /// An open file.
    pub(crate) file: Option<Arc<File>>,
    /// Bytes to be put into a file.
    pub(crate) bytes: Option<Bytes>,
}

/// A table with what is open of it. The copy-up layer goes with the last hold on the table.
pub(crate) struct Lent {
    table: MountTable,
    root: Layers,
    mounts: Vec<OnceLock<Box<dyn Ground>>>,
    /// Those of open files; each goes with its file.
    quotas: Mutex<HashMap<u32, Arc<dyn Charge>>>,
    next: AtomicU32,
}

impl Lent {
    pub(crate) fn new(table: MountTable) -> Self {
        let mounts = (0..table.numbers()).map(|_| OnceLock::new()).collect();
        Self {
            root: Layers::new(table.clone()),
            table,
            mounts,
            quotas: Mutex::default(),
            next: AtomicU32::new(0),
        }
    }

    /// Answers; never fails but in the answer.
    pub(crate) fn answer(&self, mount: Option<usize>, ask: &Ask) -> Reply {
        self.try_answer(mount, ask)
            .unwrap_or_else(|error| plain(Answer::Failed(error.raw_os_error())))
    }

    fn try_answer(&self, mount: Option<usize>, ask: &Ask) -> Result<Reply, Errno> {
        let ground = self.ground(mount)?;
        let done = |()| Answer::Done;
        let answer = match ask {
            Ask::Open(path, how) => return self.file(ground.open(sound(path)?, *how)?),
            Ask::Stat(path) => Answer::Stat(ground.stat(sound(path)?)?),
            Ask::ReadLink(path) => Answer::Target(ground.read_link(sound(path)?)?),
            Ask::List(path) => Answer::Names(ground.list(sound(path)?)?),
            Ask::MakeDir(path) => done(ground.make_dir(sound(path)?)?),
            Ask::RemoveDir(path) => done(ground.remove_dir(sound(path)?)?),
            Ask::Unlink(path) => done(ground.unlink(sound(path)?)?),
            Ask::Symlink(target, path) => {
                path::check(target)?;
                done(ground.symlink(target, sound(path)?)?)
            }
            Ask::Rename(from, to) => done(ground.rename(sound(from)?, sound(to)?)?),
            Ask::Link(from, to) => done(ground.link(sound(from)?, sound(to)?)?),
            Ask::SetTimes(path, times) => done(ground.set_times(sound(path)?, *times)?),
            Ask::Charge(quota, bytes) => {
                let quota = self.quota(*quota)?;
                if quota.charge(*bytes) { Answer::Done } else { return Err(Errno::NOSPC) }
            }
            Ask::Release(quota, bytes) => {
                self.quota(*quota)?.release(*bytes);
                Answer::Done
            }
            Ask::Close(quota) => {
                let closed = self.quotas.lock().remove(quota);
                closed.map(|_quota| Answer::Done).ok_or(Errno::BADF)?
            }
        };
        Ok(plain(answer))
    }

    fn ground(&self, mount: Option<usize>) -> Result<&dyn Ground, Errno> {
        let Some(index) = mount else { return Ok(&self.root) };
        let cell = self.mounts.get(index).ok_or(Errno::NOENT)?;
        if let Some(ground) = cell.get() {
            return Ok(&**ground);
        }
        let placed = self.table.numbered(index).ok_or(Errno::NOENT)?;
        let opened = open_mount::open(&placed.mount, &path::relative(&placed.at))?;
        Ok(&**cell.get_or_init(|| opened))
    }

    fn file(&self, handle: FileHandle) -> Result<Reply, Errno> {
        let quota = handle.quota.map(|quota| self.number(quota)).transpose()?;
        let (content, file, bytes) = match handle.content {
            FileContent::Disk(file) => (Content::Disk, Some(file), None),
            FileContent::Memory(bytes, stat) => (Content::Memory(stat), None, Some(bytes)),
            FileContent::Null(stat) => (Content::Null(stat), None, None),
        };
        let (readable, writable) = (handle.readable, handle.writable);
        Ok(Reply { answer: Answer::File { content, readable, writable, quota }, file, bytes })
    }

    /// The number by which the quota of an open file is known outside.
    fn number(&self, quota: Arc<dyn Charge>) -> Result<u32, Errno> {
        let mut quotas = self.quotas.lock();
        if quotas.len() >= CHARGED_MAX {
            return Err(Errno::MFILE);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        quotas.insert(number, quota);
        Ok(number)
    }

    fn quota(&self, number: u32) -> Result<Arc<dyn Charge>, Errno> {
        self.quotas.lock().get(&number).cloned().ok_or(Errno::BADF)
    }
}

fn plain(answer: Answer) -> Reply {
    Reply { answer, file: None, bytes: None }
}

/// Refuses what no guest's path comes to: `..`, empty names, and what no file system takes.
fn sound(path: &str) -> Result<&str, Errno> {
    path::check(path)?;
    let good = |name: &str| !name.is_empty() && name != "." && name != "..";
    if path == "." || path.split('/').all(good) { Ok(path) } else { Err(Errno::INVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::{Mount, Open, Quota};

    fn lent() -> (Lent, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("volume")).unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        let volume = folder.path().join("volume");
        std::os::unix::fs::symlink("../secret", volume.join("link")).unwrap();
        let limited = Mount::host(&volume).quota(Arc::new(Quota::new(10, 0)));
        let table = MountTable::builder().mount("/data", limited).unwrap();
        let table = table.mount("/ro", Mount::host(&volume).read_only()).unwrap();
        (Lent::new(table.build().unwrap()), folder)
    }

    fn ask(lent: &Lent, mount: usize, ask: &Ask) -> String {
        format!("{:?}", lent.answer(Some(mount), ask).answer)
    }

    #[test]
    fn paths_that_no_guest_can_have_are_refused() {
        let (lent, _folder) = lent();
        let read = Open { read: true, ..Open::default() };
        for (path, errno) in [
            ("../secret", Errno::INVAL),
            ("a/../../secret", Errno::INVAL),
            ("/etc/passwd", Errno::INVAL),
            ("", Errno::NOENT),
            ("a\0b", Errno::INVAL),
            ("link", Errno::LOOP),
        ] {
            let wanted = format!("{:?}", Answer::Failed(errno.raw_os_error()));
            assert_eq!(ask(&lent, 0, &Ask::Open(path.into(), read)), wanted, "{path}");
        }
        assert_eq!(
            ask(&lent, 7, &Ask::Stat(".".into())),
            format!("{:?}", Answer::Failed(Errno::NOENT.raw_os_error()))
        );
    }

    #[test]
    fn rights_and_quotas_are_those_of_the_mount() {
        let (lent, _folder) = lent();
        let write = Open { write: true, create: true, ..Open::default() };
        let refused = |errno: Errno| format!("{:?}", Answer::Failed(errno.raw_os_error()));
        let made = Ask::Open("new".into(), write);
        assert_eq!(ask(&lent, 1, &made), refused(Errno::ROFS));
        assert_eq!(ask(&lent, 1, &Ask::MakeDir("dir".into())), refused(Errno::ROFS));
        let reply = lent.answer(Some(0), &made);
        assert!(reply.file.is_some());
        let Answer::File { quota: Some(quota), writable: true, .. } = reply.answer else {
            panic!("{:?}", reply.answer)
        };
        assert_eq!(ask(&lent, 0, &Ask::Charge(quota, 10)), "Done");
        assert_eq!(ask(&lent, 0, &Ask::Charge(quota, 1)), refused(Errno::NOSPC));
        assert_eq!(ask(&lent, 0, &Ask::Release(quota, 10)), "Done");
        assert_eq!(ask(&lent, 0, &Ask::Charge(quota + 1, 1)), refused(Errno::BADF));
        assert_eq!(ask(&lent, 0, &Ask::Close(quota)), "Done");
        assert_eq!(ask(&lent, 0, &Ask::Charge(quota, 1)), refused(Errno::BADF));
    }
}
