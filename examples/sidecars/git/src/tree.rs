//! The files of a commit.

use std::collections::BTreeSet;

use crate::pack::{Id, Kind, Objects};

/// Folders within folders.
const DEPTH_MAX: usize = 64;

/// Names in all folders together: folders that are in each other many times over make a small pack a
/// tree without end.
const NAMES_MAX: usize = 100_000;

/// Bytes of all files together, each counted as often as it is there.
const FILES_BYTES_MAX: usize = 256 << 20;

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
    let mut found = Found { files: Vec::new(), names: 0, bytes: 0 };
    walk(objects, &id(tree)?, "", 0, &mut found)?;
    Ok(found.files)
}

/// What was found so far.
struct Found {
    files: Vec<File>,
    names: usize,
    bytes: usize,
}

fn walk(objects: &Objects, tree: &Id, folder: &str, depth: usize, found: &mut Found) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("folders deeper than {DEPTH_MAX}"));
    }
    let mut names = BTreeSet::new();
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
        // A link and a folder of one name would lead the folder's files to wherever the link leads.
        if !names.insert(name) {
            return Err(format!("'{name}' is twice in '{folder}'"));
        }
        found.names += 1;
        if found.names > NAMES_MAX {
            return Err(format!("more than {NAMES_MAX} files and folders"));
        }
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let mode = match mode {
            "40000" => {
                walk(objects, &child, &path, depth + 1, found)?;
                continue;
            }
            "160000" => continue,
            "120000" => Mode::Link,
            "100755" => Mode::Program,
            _ => Mode::File,
        };
        let bytes = get(objects, &child, Kind::Blob)?;
        found.bytes = found.bytes.saturating_add(bytes.len());
        if found.bytes > FILES_BYTES_MAX {
            return Err(format!("more than {FILES_BYTES_MAX} bytes of files"));
        }
        found.files.push(File { path, mode, bytes: bytes.to_vec() });
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

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0101010101010101010101010101010101010101";

    /// A commit whose tree is the object 2; every object `n` has a name of twenty bytes `n`.
    fn check(all: &[(u8, Kind, &[u8])], want: Result<usize, &str>) {
        let commit = format!("tree {}\n", "02".repeat(20)).into_bytes();
        let commit = (1, Kind::Commit, commit.as_slice());
        let objects = all.iter().chain([&commit]);
        let objects = objects.map(|(n, kind, bytes)| ([*n; 20], (*kind, bytes.to_vec()))).collect();
        let found = files(&objects, COMMIT).map(|files| files.len());
        assert_eq!(found, want.map_err(str::to_owned));
    }

    fn entries(all: &[(&str, &str, u8)]) -> Vec<u8> {
        all.iter().flat_map(|(mode, name, n)| [format!("{mode} {name}\0").as_bytes(), &[*n; 20]].concat()).collect()
    }

    #[test]
    fn what_leads_out_of_the_folder_is_refused() {
        let (file, good) = (b"/etc".as_slice(), entries(&[("100644", "f", 3)]));
        let both = |name: &str, other: &str| entries(&[("120000", name, 3), ("40000", other, 4)]);
        for (tree, want) in [
            (both("a", "b"), Ok(2)),
            (both("a", "a"), Err("'a' is twice in ''")),
            (both("..", "b"), Err("'..' is no name of a file")),
        ] {
            check(&[(2, Kind::Tree, &tree), (3, Kind::Blob, file), (4, Kind::Tree, &good)], want);
        }
    }

    #[test]
    fn folders_that_multiply_come_to_an_end() {
        let mut trees: Vec<_> = (3..40).map(|n| entries(&[("40000", "a", n), ("40000", "b", n)])).collect();
        trees.push(Vec::new());
        let all: Vec<_> = (2..).zip(&trees).map(|(n, tree)| (n, Kind::Tree, tree.as_slice())).collect();
        check(&all, Err("more than 100000 files and folders"));
    }
}
