//! What services keep for a guest: files below the place that it was granted, named after what the
//! guest calls them.
//!
//! A name is one file's name: letters, digits, `-`, `_` and `.` stand for themselves, every other
//! byte is `%XX`, and so is a `.` at the beginning, which leaves such names to the services.

use rustix::io::Errno;

use crate::mounts::{FileHandle, Handle, Kind, Listing, Open, Tree};

/// Bytes of a name as its file has it: Linux takes 255, and some are left for what comes.
pub(crate) const NAME_BYTES_MAX: usize = 240;

/// The file's name for what a guest calls so; nothing when it is empty or too long.
pub(crate) fn encode(name: &str) -> Option<String> {
    let mut file = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_')
            || (byte == b'.' && index > 0);
        if is_plain {
            file.push(char::from(byte));
        } else {
            file.push_str(&format!("%{byte:02X}"));
        }
    }
    (1..=NAME_BYTES_MAX).contains(&file.len()).then_some(file)
}

/// What the guest calls a file; nothing for files that are the services' own, or somebody else's.
pub(crate) fn decode(file: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(file.len());
    let mut rest = file.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (encode(&name)? == file).then_some(name)
}

/// Opens a file; a link is none.
pub(crate) fn open(tree: &Tree, path: &str, how: Open) -> Result<FileHandle, Errno> {
    match tree.open(&tree.root(), path, false, how)? {
        Handle::File(file) => Ok(file),
        Handle::Dir(_) => Err(Errno::ISDIR),
    }
}

/// Reads a whole file, if it is there.
///
/// # Errors
/// `EFBIG` when it has more than `bytes_max`, and what the disk says.
pub(crate) fn read(tree: &Tree, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Errno> {
    match open(tree, path, Open { read: true, ..Open::default() }) {
        Err(Errno::NOENT) => Ok(None),
        opened => content(&opened?, bytes_max).map(Some),
    }
}

/// Reads a whole file that may be a link within its mount, as those of a ConfigMap and a Secret are.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_linked(
    tree: &Tree,
    path: &str,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, Errno> {
    let how = Open { read: true, ..Open::default() };
    match tree.open(&tree.root(), path, true, how) {
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
        Ok(Handle::File(file)) => content(&file, bytes_max).map(Some),
        Ok(Handle::Dir(_)) => Err(Errno::ISDIR),
    }
}

/// Reads what an open file has.
///
/// # Errors
/// As [`read`].
pub(crate) fn content(file: &FileHandle, bytes_max: usize) -> Result<Vec<u8>, Errno> {
    let size = usize::try_from(file.stat()?.size).unwrap_or(usize::MAX);
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() <= bytes_max && size <= bytes_max {
        // One more than there is shows its end.
        let wanted = size.saturating_sub(bytes.len()) + 1;
        let part = file.read(wanted, bytes.len() as u64)?;
        bytes.extend_from_slice(&part);
        if part.len() < wanted {
            return if bytes.len() > bytes_max { Err(Errno::FBIG) } else { Ok(bytes) };
        }
    }
    Err(Errno::FBIG)
}

/// Whether a write waits until the disk has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// It does: the value is there after a crash of the machine.
    Now,
    /// The kernel writes it soon.
    Soon,
}

/// Puts bytes in the place of a file, at once: whoever reads sees the old ones or all of the new.
/// `new` is a path beside it that only the caller uses.
pub(crate) fn replace(
    tree: &Tree,
    new: &str,
    path: &str,
    bytes: &[u8],
    flush: Flush,
) -> Result<(), Errno> {
    let how = Open { write: true, create: true, truncate: true, ..Open::default() };
    let root = tree.root();
    let replaced = open(tree, new, how).and_then(|file| {
        file.write(bytes, Some(0))?;
        if flush == Flush::Now {
            file.sync_data()?;
        }
        tree.rename(&root, new, &root, path)?;
        // The disk has the bytes, and not yet their name: the file's own facts, which the new name has
        // changed, take it along on the file systems that hosts have (ext4, XFS, Btrfs).
        if flush == Flush::Now { file.sync() } else { Ok(()) }
    });
    if replaced.is_err() {
        // What is left of it would only take room; the error is the one above.
        let _ = tree.unlink(&root, new);
    }
    replaced
}

/// Removes a file, if it is there.
pub(crate) fn remove(tree: &Tree, path: &str) -> Result<(), Errno> {
    match tree.unlink(&tree.root(), path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the guest calls the things of one kind in a folder, in the order of their files, whose names
/// come with it. The rest counts as the guest's memory until it is dropped.
pub(crate) fn names(tree: &Tree, folder: &str, kind: Kind) -> Result<Names, Errno> {
    let how = Open { read: true, directory: true, ..Open::default() };
    let Handle::Dir(dir) = tree.open(&tree.root(), folder, false, how)? else {
        return Err(Errno::NOTDIR);
    };
    Ok(Names { listing: tree.listing(&dir)?, kind })
}

/// What [`names`] gives.
pub(crate) struct Names {
    listing: Listing,
    kind: Kind,
}

impl Iterator for Names {
    type Item = (String, String);

    fn next(&mut self) -> Option<(String, String)> {
        self.listing.by_ref().find_map(|(file, kind)| {
            let name = if kind == self.kind { decode(&file) } else { None };
            Some((file, name?))
        })
    }
}

/// An error in words for the guest.
pub(crate) fn said(error: Errno) -> String {
    if error == Errno::NOSPC || error == Errno::DQUOT {
        "the volume is full".to_owned()
    } else if error == Errno::FBIG {
        "the value is too large".to_owned()
    } else {
        std::io::Error::from(error).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_become_files_that_lead_nowhere_else() {
        for (name, file) in [
            ("user-1.json", Some("user-1.json")),
            ("user:1", Some("user%3A1")),
            ("..", Some("%2E.")),
            (".lock", Some("%2Elock")),
            ("a/../b", Some("a%2F..%2Fb")),
            ("50%", Some("50%25")),
            ("é", Some("%C3%A9")),
            ("", None),
        ] {
            assert_eq!(encode(name).as_deref(), file, "{name}");
        }
        assert_eq!(encode(&"x".repeat(NAME_BYTES_MAX)).map(|file| file.len()), Some(240));
        assert_eq!(encode(&"x".repeat(NAME_BYTES_MAX + 1)), None);
        for foreign in [".lock", "..data", "%2", "%zz", "a%3a", "%FF", "a b"] {
            assert_eq!(decode(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn a_name_comes_back(name in "\\PC{1,20}") {
            let file = encode(&name).unwrap();
            prop_assert!(!file.starts_with('.') && !file.contains('/') && !file.contains('\0'));
            prop_assert_eq!(decode(&file), Some(name));
        }
    }
}
