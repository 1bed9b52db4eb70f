//! A small shell over a [`Tree`].

use coracle_runtime::mounts::{
    DirHandle, FileHandle, Handle, Kind, MountTable, Open, SetTime, Time, Times, Tree,
};
use rustix::io::Errno;

/// Runs each `command => expected` line; lines without `=>` must say `ok`.
#[track_caller]
pub(crate) fn check(tree: &Tree, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once("=>").unwrap_or((line, "ok"));
        let words: Vec<&str> = command.split_whitespace().collect();
        let said = run(tree, &words).unwrap_or_else(name);
        assert_eq!(said, expected.trim(), "{line}");
    }
}

pub(crate) fn tree(table: &MountTable) -> Tree {
    Tree::new(table.clone())
}

/// The error's name; numbers are for machines.
fn name(errno: Errno) -> String {
    const NAMES: &[(Errno, &str)] = &[
        (Errno::BUSY, "EBUSY"),
        (Errno::EXIST, "EEXIST"),
        (Errno::INVAL, "EINVAL"),
        (Errno::ISDIR, "EISDIR"),
        (Errno::LOOP, "ELOOP"),
        (Errno::NOENT, "ENOENT"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::NOTEMPTY, "ENOTEMPTY"),
        (Errno::NXIO, "ENXIO"),
        (Errno::PERM, "EPERM"),
        (Errno::ROFS, "EROFS"),
        (Errno::XDEV, "EXDEV"),
    ];
    let found = NAMES.iter().find(|(number, _)| *number == errno);
    found.map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
}

fn file(tree: &Tree, path: &str, how: Open) -> Result<FileHandle, Errno> {
    match tree.open(&tree.root(), path, true, how)? {
        Handle::File(file) => Ok(file),
        Handle::Dir(_) => Err(Errno::ISDIR),
    }
}

fn dir(tree: &Tree, path: &str) -> Result<DirHandle, Errno> {
    let how = Open { read: true, directory: true, ..Open::default() };
    match tree.open(&tree.root(), path, true, how)? {
        Handle::Dir(dir) => Ok(dir),
        Handle::File(_) => panic!("a file was opened as a directory"),
    }
}

fn done(result: Result<(), Errno>) -> Result<String, Errno> {
    result.map(|()| "ok".to_owned())
}

fn run(tree: &Tree, words: &[&str]) -> Result<String, Errno> {
    let root = tree.root();
    let read = Open { read: true, ..Open::default() };
    let write = Open { write: true, create: true, ..Open::default() };
    match *words {
        ["cat", path] => {
            let data = file(tree, path, read)?.read(1 << 20, 0)?;
            Ok(String::from_utf8(data.to_vec()).expect("text"))
        }
        ["write", path, text] => {
            let file = file(tree, path, Open { truncate: true, ..write })?;
            done(file.write(text.as_bytes(), Some(0)))
        }
        ["append", path, text] => done(file(tree, path, write)?.write(text.as_bytes(), None)),
        ["fill", path, bytes] => {
            let bytes = bytes.parse().expect("a number");
            done(file(tree, path, write)?.write(&vec![b'x'; bytes], None))
        }
        ["resize", path, bytes] => {
            done(file(tree, path, write)?.set_size(bytes.parse().expect("a number")))
        }
        ["new", path] => file(tree, path, Open { exclusive: true, ..write }).map(|_| "ok".into()),
        ["ls", path] => {
            let entries = tree.list(&dir(tree, path)?)?;
            Ok(entries
                .iter()
                .map(|(name, kind)| format!("{name}{}", mark(*kind)))
                .collect::<Vec<_>>()
                .join(" "))
        }
        ["stat", path] => tree.stat(&root, path, true).map(|stat| describe(stat.kind, stat.size)),
        ["lstat", path] => tree.stat(&root, path, false).map(|stat| describe(stat.kind, stat.size)),
        ["readlink", path] => tree.read_link(&root, path),
        ["mkdir", path] => done(tree.make_dir(&root, path)),
        ["rmdir", path] => done(tree.remove_dir(&root, path)),
        ["rm", path] => done(tree.unlink(&root, path)),
        ["ln", from, to] => done(tree.link(&root, from, &root, to)),
        ["symlink", target, path] => done(tree.symlink(target, &root, path)),
        ["mv", from, to] => done(tree.rename(&root, from, &root, to)),
        ["touch", path] => {
            let at = SetTime::At(Time { seconds: 86_400, nanoseconds: 5 });
            let times = Times { accessed: SetTime::Keep, modified: at };
            done(tree.set_times(&root, path, true, times))
        }
        ["mtime", path] => {
            let time = tree.stat(&root, path, true)?.modified;
            Ok(format!("{}.{}", time.seconds, time.nanoseconds))
        }
        ["in", base, "cat", path] => {
            let Handle::File(file) = tree.open(&dir(tree, base)?, path, true, read)? else {
                return Err(Errno::ISDIR);
            };
            Ok(String::from_utf8(file.read(1 << 20, 0)?.to_vec()).expect("text"))
        }
        _ => panic!("no such command: {words:?}"),
    }
}

fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Directory => "/",
        Kind::File => "",
        Kind::Symlink => "@",
        Kind::CharacterDevice => "%",
        Kind::Other => "?",
    }
}

fn describe(kind: Kind, size: u64) -> String {
    match kind {
        Kind::File => format!("file {size}"),
        Kind::Directory => "dir".to_owned(),
        Kind::Symlink => "link".to_owned(),
        Kind::CharacterDevice => "device".to_owned(),
        Kind::Other => "other".to_owned(),
    }
}
