//! The files of a commit.

use crate::pack::{Id, Kind, Objects};

/// Folders within folders.
const DEPTH_MAX: usize = 64;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Bytes.
    File,
    /// Bytes that may be run.
    Program,
    /// A link; the bytes are where to.
    Link,
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where, from the repository's root, with `/`; no part of it is `.`, `..` or `.git`.
    pub path: String,
    /// What it is.
    pub mode: Mode,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Gives the files of a commit; submodules are left out.
pub(crate) fn files(objects: &Objects, commit: &str) -> Result<Vec<File>, String> {
    let text = get(objects, &id(commit)?, Kind::Commit)?;
    let tree = text.strip_prefix(b"tree ").and_then(|rest| rest.get(..40));
    let tree = tree.and_then(|hex| std::str::from_utf8(hex).ok()).ok_or("a commit without a tree")?;
    let mut files = Vec::new();
    walk(objects, &id(tree)?, "", 0, &mut files)?;
    Ok(files)
}

fn walk(objects: &Objects, tree: &Id, folder: &str, depth: usize, files: &mut Vec<File>) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("folders deeper than {DEPTH_MAX}"));
    }
    let mut rest = get(objects, tree, Kind::Tree)?;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0).ok_or("a broken tree")?;
        let head = std::str::from_utf8(&rest[..end]).map_err(|_| format!("a name in '{folder}' is no UTF-8"))?;
        let (mode, name) = head.split_once(' ').ok_or("a broken tree")?;
        let child: Id = rest.get(end + 1..end + 21).and_then(|id| id.try_into().ok()).ok_or("a broken tree")?;
        rest = &rest[end + 21..];
        if name.is_empty() || name.contains(['/', '\\']) || matches!(name, "." | "..") || name.eq_ignore_ascii_case(".git") {
            return Err(format!("'{name}' is no name of a file"));
        }
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let mode = match mode {
            "40000" => {
                walk(objects, &child, &path, depth + 1, files)?;
                continue;
            }
            "160000" => continue,
            "120000" => Mode::Link,
            "100755" => Mode::Program,
            _ => Mode::File,
        };
        files.push(File { path, mode, bytes: get(objects, &child, Kind::Blob)?.to_vec() });
    }
    Ok(())
}

fn get<'a>(objects: &'a Objects, id: &Id, kind: Kind) -> Result<&'a [u8], String> {
    match objects.get(id) {
        Some((found, bytes)) if *found == kind => Ok(bytes),
        _ => Err(format!("the pack lacks the {kind:?} {}", hex(id))),
    }
}

fn hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id(hex: &str) -> Result<Id, String> {
    let digit = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..20).map(|index| digit(2 * index)).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| format!("'{hex}' is no object's name"))
}
