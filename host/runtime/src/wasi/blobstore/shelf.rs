//! Containers and objects as folders and files of the place that a guest was granted.
//!
//! Errors are words for the guest, because the interface has nothing else.

use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::value::Outgoing;
use crate::mounts::{FileHandle, Kind, Open, Service, Stat, Tree};
use crate::wasi::kept::{self, Names};

/// Containers of one place, so that no guest fills the volume with empty ones.
const CONTAINERS_MAX: usize = 1000;

/// Objects that are being written at once into one place, by whichever guests.
const WRITES_MAX: usize = 64;

/// Bytes of a copy that are read at once.
const COPY_BYTES: usize = 256 << 10;

/// The file whose time tells when its container was made.
const MARK: &str = ".container";

const PLACE: &str = Service::Blobstore.place();

pub(super) type Said<T> = Result<T, String>;

/// A container, by its name.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    folder: String,
}

fn too_long(what: &str) -> String {
    format!(
        "the name of {what} must not be empty, and have at most {} bytes, of which others than \
         letters, digits, '-', '_' and '.' count threefold",
        kept::NAME_BYTES_MAX
    )
}

/// Whole seconds since 1970.
fn seconds(stat: &Stat) -> u64 {
    u64::try_from(stat.modified.seconds).unwrap_or(0)
}

impl Container {
    fn named(name: &str) -> Said<Self> {
        let file = kept::encode(name).ok_or_else(|| too_long("a container"))?;
        Ok(Self { name: name.to_owned(), folder: format!("{PLACE}/{file}") })
    }

    /// Makes one.
    pub(super) fn create(tree: &Tree, name: &str) -> Said<Self> {
        let container = Self::named(name)?;
        let there = kept::names(tree, PLACE, Kind::Directory).map_err(kept::said)?;
        if there.count() >= CONTAINERS_MAX {
            return Err(format!("there are {CONTAINERS_MAX} containers already"));
        }
        tree.make_dir(&tree.root(), &container.folder).map_err(|error| match error {
            Errno::EXIST => format!("container '{name}' exists already"),
            error => kept::said(error),
        })?;
        let how = Open { write: true, create: true, ..Open::default() };
        let mark = kept::open(tree, &format!("{}/{MARK}", container.folder), how);
        mark.map(|_| container).map_err(kept::said)
    }

    /// Finds one.
    pub(super) fn find(tree: &Tree, name: &str) -> Said<Self> {
        let container = Self::named(name)?;
        if container.is_there(tree)? {
            return Ok(container);
        }
        Err(format!("there is no container '{name}'"))
    }

    /// Says whether there is one of a name.
    pub(super) fn exists(tree: &Tree, name: &str) -> Said<bool> {
        Self::named(name)?.is_there(tree)
    }

    fn is_there(&self, tree: &Tree) -> Said<bool> {
        match tree.stat(&tree.root(), &self.folder, false) {
            Ok(stat) => Ok(stat.kind == Kind::Directory),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(kept::said(error)),
        }
    }

    /// Removes it and all its objects.
    pub(super) fn delete(tree: &Tree, name: &str) -> Said<()> {
        let container = Self::find(tree, name)?;
        container.clear(tree)?;
        kept::remove(tree, &format!("{}/{MARK}", container.folder)).map_err(kept::said)?;
        tree.remove_dir(&tree.root(), &container.folder).map_err(kept::said)
    }

    /// When it was made.
    pub(super) fn created_at(&self, tree: &Tree) -> Said<u64> {
        let mark = format!("{}/{MARK}", self.folder);
        let mark = tree.stat(&tree.root(), &mark, false);
        // One that somebody else put there has no mark.
        let stat = mark.or_else(|_| tree.stat(&tree.root(), &self.folder, false));
        stat.map(|stat| seconds(&stat)).map_err(kept::said)
    }

    /// The path of an object.
    pub(super) fn path(&self, object: &str) -> Said<String> {
        let file = kept::encode(object).ok_or_else(|| too_long("an object"))?;
        Ok(format!("{}/{file}", self.folder))
    }

    /// Opens an object.
    pub(super) fn open(&self, tree: &Tree, object: &str) -> Said<FileHandle> {
        let how = Open { read: true, ..Open::default() };
        kept::open(tree, &self.path(object)?, how).map_err(|error| match error {
            Errno::NOENT => format!("there is no object '{object}' in '{}'", self.name),
            error => kept::said(error),
        })
    }

    /// Size and time of an object, if it is there.
    pub(super) fn stat(&self, tree: &Tree, object: &str) -> Said<Option<(u64, u64)>> {
        match tree.stat(&tree.root(), &self.path(object)?, false) {
            Ok(stat) if stat.kind == Kind::File => Ok(Some((stat.size, seconds(&stat)))),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(kept::said(error)),
        }
    }

    /// The names of its objects.
    pub(super) fn objects(&self, tree: &Tree) -> Said<Names> {
        kept::names(tree, &self.folder, Kind::File).map_err(kept::said)
    }

    /// Removes an object, if it is there.
    pub(super) fn remove(&self, tree: &Tree, object: &str) -> Said<()> {
        kept::remove(tree, &self.path(object)?).map_err(kept::said)
    }

    /// Removes all objects.
    pub(super) fn clear(&self, tree: &Tree) -> Said<()> {
        self.objects(tree)?.try_for_each(|(_, object)| self.remove(tree, &object))
    }
}

/// Puts a copy of an object in the place of another.
pub(super) fn copy(tree: &Arc<Tree>, from: (&Container, &str), to: (&Container, &str)) -> Said<()> {
    let source = from.0.open(tree, from.1)?;
    let mut copy = Outgoing::default();
    let spool = copy.begin(tree)?;
    copy.target = Some(to.0.path(to.1)?);
    loop {
        let mut spool = spool.lock();
        let part = source.read(COPY_BYTES, spool.written).map_err(kept::said)?;
        if part.is_empty() {
            break;
        }
        spool.write(&part)?;
    }
    copy.finish(tree)
}

/// Gives an object another name and container.
pub(super) fn rename(tree: &Tree, from: (&Container, &str), to: (&Container, &str)) -> Said<()> {
    let root = tree.root();
    let (source, target) = (from.0.path(from.1)?, to.0.path(to.1)?);
    tree.rename(&root, &source, &root, &target).map_err(|error| match error {
        Errno::NOENT => format!("there is no object '{}' in '{}'", from.1, from.0.name),
        error => kept::said(error),
    })
}

/// A file for what is being written, empty, with its path. Its lock says that it is in use: one that
/// a crash left behind is used again.
pub(super) fn spool(tree: &Tree) -> Said<(String, FileHandle)> {
    let how = Open { read: true, write: true, create: true, ..Open::default() };
    for number in 0..WRITES_MAX {
        let path = format!("{PLACE}/.new-{number}");
        let file = kept::open(tree, &path, how).map_err(kept::said)?;
        if !file.try_lock().map_err(kept::said)? {
            continue;
        }
        // Whoever had it may have given it its name in between.
        let named = tree.stat(&tree.root(), &path, false).map(|stat| stat.identity);
        if named == file.stat().map(|stat| stat.identity) {
            file.set_size(0).map_err(kept::said)?;
            return Ok((path, file));
        }
    }
    Err(format!("{WRITES_MAX} objects are being written already"))
}

/// What has been written of an object.
#[derive(Debug)]
pub(super) struct Spool {
    file: FileHandle,
    pub(super) written: u64,
    pub(super) is_open: bool,
}

/// Bytes of one object.
pub(super) const OBJECT_BYTES_MAX: u64 = 1 << 30;

impl Spool {
    pub(super) fn new(file: FileHandle) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { file, written: 0, is_open: true }))
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Said<()> {
        if self.written + bytes.len() as u64 > OBJECT_BYTES_MAX {
            return Err(format!("an object must have at most {OBJECT_BYTES_MAX} bytes"));
        }
        self.file.write(bytes, Some(self.written)).map_err(kept::said)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Waits until the disk has it; nothing can be written from then on.
    pub(super) fn close(&mut self) -> Said<()> {
        self.is_open = false;
        self.file.sync_data().map_err(kept::said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::{Mount, MountTable, Quota};

    fn tree(folder: &tempfile::TempDir) -> Arc<Tree> {
        let place = Mount::host(folder.path()).quota(Arc::new(Quota::new(1 << 20, 0)));
        let table = MountTable::builder().service(Service::Blobstore, place).unwrap();
        Arc::new(Tree::new(table.build().unwrap().services().unwrap().clone()))
    }

    fn put(tree: &Arc<Tree>, container: &Container, object: &str, bytes: &[u8]) -> Said<()> {
        let mut value = Outgoing::default();
        value.begin(tree)?.lock().write(bytes)?;
        value.target = Some(container.path(object)?);
        value.finish(tree)
    }

    fn held(tree: &Tree, container: &Container, object: &str) -> Said<String> {
        let bytes = container.open(tree, object)?.read(100, 0).map_err(kept::said)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn objects_are_written_whole_copied_moved_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(&folder);
        let a = Container::create(&tree, "a").unwrap();
        let b = Container::create(&tree, "b/../c").unwrap();
        assert!(Container::create(&tree, "a").is_err() && Container::find(&tree, "z").is_err());
        put(&tree, &a, "x/y", b"one").unwrap();
        copy(&tree, (&a, "x/y"), (&b, "z")).unwrap();
        rename(&tree, (&b, "z"), (&a, "moved")).unwrap();
        assert!(rename(&tree, (&b, "z"), (&a, "moved")).unwrap_err().contains("no object 'z'"));
        assert_eq!(held(&tree, &a, "moved"), Ok("one".to_owned()));
        let names: Vec<_> = a.objects(&tree).unwrap().map(|(_, name)| name).collect();
        assert_eq!((names.join(" ").as_str(), b.objects(&tree).unwrap().count()), ("moved x/y", 0));
        put(&tree, &a, "x/y", b"").unwrap();
        assert_eq!(a.stat(&tree, "x/y").unwrap().map(|(bytes, _)| bytes), Some(0));
        assert!(a.created_at(&tree).unwrap() > 1_600_000_000);
        Container::delete(&tree, "a").unwrap();
        assert_eq!(Container::exists(&tree, "a"), Ok(false));
        assert!(put(&tree, &a, "late", b"x").is_err());
    }

    #[test]
    fn what_is_dropped_leaves_nothing_and_writes_have_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(&folder);
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut values: Vec<_> = (0..WRITES_MAX).map(|_| Outgoing::default()).collect();
        for value in &mut values {
            value.begin(&tree).unwrap();
        }
        assert!(Outgoing::default().begin(&tree).unwrap_err().contains("64 objects"));
        assert_eq!(files(), WRITES_MAX);
        drop(values);
        assert_eq!(files(), 0);
        let mut value = Outgoing::default();
        let spool = value.begin(&tree).unwrap();
        assert!(spool.lock().write(&vec![0; 2 << 20]).unwrap_err().contains("full"));
        spool.lock().written = OBJECT_BYTES_MAX;
        assert!(spool.lock().write(b"1").unwrap_err().contains("at most"));
        assert!(value.finish(&tree).unwrap_err().contains("write-data"));
    }
}
