//! Unpacks the layers of an image into a folder: hostile archives end in an error, and nothing of
//! them lands outside. Blocking calls.
//!
//! Every path is opened beneath the folder, links included; whatever is read from an archive, its
//! headers too, is charged to one budget before it is held or written. What a guest cannot see is
//! left out: owners, modes, times, device nodes, pipes.
//!
//! *Source:* the OCI image spec, "Image Layer Filesystem Changeset".

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use cap_std::fs::{Dir, OpenOptions};

use super::zstd::Frames;

/// Most bytes that the layers of one image may unpack to, headers included; a bomb must not fill
/// the disk.
pub(super) const ROOTFS_BYTES_MAX: u64 = 4 << 30;

/// Most entries of an image's layers together: each may take an inode.
pub(super) const ROOTFS_ENTRIES_MAX: usize = 200_000;

/// Most layers of an image. *Source:* the 127 that container engines build at most.
pub(super) const LAYERS_MAX: usize = 128;

/// Most bytes of the headers of one entry, long names and extended attributes included: they are
/// held in memory.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// Most names in one path, so that whoever walks the files later need not go arbitrarily deep.
const DEPTH_MAX: usize = 255;

/// How the name of a white-out begins, and the one that hides all of its directory.
const WHITE_OUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// How white-outs begin that carry the notes of one storage driver.
const WHITE_OUT_NOTES: &str = ".wh..wh.";

/// What the layers of an image may still take.
pub(super) struct Budget {
    bytes: u64,
    entries: usize,
}

impl Budget {
    /// What one image may take.
    pub(super) fn of_image() -> Self {
        Self { bytes: ROOTFS_BYTES_MAX, entries: ROOTFS_ENTRIES_MAX }
    }

    fn take(&mut self, bytes: u64) -> Result<(), String> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            format!("unpacks to more than the {ROOTFS_BYTES_MAX} bytes that an image may have")
        })?;
        Ok(())
    }

    fn take_entry(&mut self) -> Result<(), String> {
        self.entries = self.entries.checked_sub(1).ok_or_else(|| {
            format!("has more than the {ROOTFS_ENTRIES_MAX} entries that an image may have")
        })?;
        Ok(())
    }
}

/// Lays one layer over what is in `to`.
///
/// White-outs hide only what lower layers brought, wherever in the archive they stand; so they are
/// followed in a pass of their own, unless `is_lowest`.
pub(super) fn layer(
    blob: &Path,
    media_type: &str,
    to: &Dir,
    budget: &mut Budget,
    is_lowest: bool,
) -> Result<(), String> {
    if !is_lowest {
        each_entry(open(blob, media_type)?, budget, |path, _| white_out(path, to))?;
    }
    each_entry(open(blob, media_type)?, budget, |path, entry| {
        if name_of(path).is_some_and(|name| name.starts_with(WHITE_OUT)) {
            return Ok(());
        }
        place(path, entry, to)
    })
}

fn open(blob: &Path, media_type: &str) -> Result<Box<dyn Read>, String> {
    let file = File::open(blob).map_err(|error| error.to_string())?;
    let file = io::BufReader::new(file);
    Ok(if media_type.ends_with("gzip") {
        // Layers that can be read in parts are many archives, one after the other.
        Box::new(flate2::bufread::MultiGzDecoder::new(file))
    } else if media_type.ends_with("zstd") {
        Box::new(Frames::new(file))
    } else {
        Box::new(file)
    })
}

/// A reader that gives no more than is allowed at the time.
struct Bounded<R> {
    inner: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowed.get();
        if allowed == 0 && !buffer.is_empty() {
            let text =
                format!("the headers of an entry must have at most {HEADER_BYTES_MAX} bytes");
            return Err(io::Error::other(text));
        }
        let most = usize::try_from(allowed).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.allowed.set(allowed.saturating_sub(length as u64));
        Ok(length)
    }
}

type Entry<'a> = tar::Entry<'a, Bounded<Box<dyn Read>>>;

/// Calls `act` for each entry with its path, which is relative and leads nowhere but down. What
/// `act` leaves of an entry is skipped.
fn each_entry(
    reader: Box<dyn Read>,
    budget: &mut Budget,
    mut act: impl FnMut(&Path, &mut Entry<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let allowed = Rc::new(Cell::new(HEADER_BYTES_MAX));
    let mut archive = tar::Archive::new(Bounded { inner: reader, allowed: allowed.clone() });
    for entry in archive.entries().map_err(text)? {
        let mut entry = entry.map_err(text)?;
        budget.take_entry()?;
        budget.take(HEADER_BYTES_MAX - allowed.get().min(HEADER_BYTES_MAX))?;
        budget.take(entry.size())?;
        allowed.set(entry.size());
        let path = inner_path(&entry.path_bytes())?;
        if !path.as_os_str().is_empty() {
            act(&path, &mut entry).map_err(|why| format!("entry '{}': {why}", path.display()))?;
        }
        io::copy(&mut entry, &mut io::sink()).map_err(text)?;
        allowed.set(HEADER_BYTES_MAX);
    }
    Ok(())
}

/// The names of a path below the root; empty for the root itself.
fn inner_path(bytes: &[u8]) -> Result<PathBuf, String> {
    let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
    let mut inner = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inner.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!("entry '{}' leads outside of the image", path.display()));
            }
        }
    }
    if inner.components().count() > DEPTH_MAX {
        return Err(format!("an entry lies deeper than {DEPTH_MAX} directories"));
    }
    Ok(inner)
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

/// Hides what a white-out names; does nothing for other entries.
fn white_out(path: &Path, to: &Dir) -> Result<(), String> {
    let Some(hidden) = name_of(path).and_then(|name| name.strip_prefix(WHITE_OUT)) else {
        return Ok(());
    };
    let parent = path.parent().unwrap_or(Path::new(""));
    if name_of(path) == Some(OPAQUE) {
        return clear(parent, to).map_err(|error| error.to_string());
    }
    if name_of(path).is_some_and(|name| name.starts_with(WHITE_OUT_NOTES)) {
        return Ok(());
    }
    if matches!(hidden, "" | "." | "..") {
        return Err("a white-out must name an entry of its own directory".to_owned());
    }
    remove(&parent.join(hidden), to).map_err(|error| error.to_string())
}

/// Removes all that is in a directory, if it is one.
fn clear(path: &Path, to: &Dir) -> io::Result<()> {
    let dir = if path.as_os_str().is_empty() { to.try_clone() } else { to.open_dir(path) };
    let dir = match dir {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    let names: Vec<_> =
        dir.entries()?.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    names.iter().try_for_each(|name| remove(Path::new(name), &dir))
}

/// Removes whatever is at a path, and no link's target.
fn remove(path: &Path, dir: &Dir) -> io::Result<()> {
    match dir.symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => dir.remove_dir_all(path),
        Ok(_) => dir.remove_file(path),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Puts an entry at its place, in that of whatever was there.
fn place(path: &Path, entry: &mut Entry<'_>, to: &Dir) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let kind = entry.header().entry_type();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let make_parent = || parent.map_or(Ok(()), |parent| to.create_dir_all(parent));
    if kind.is_dir() {
        make_parent().map_err(text)?;
        return directory(path, to).map_err(text);
    }
    let is_file = kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse();
    if !is_file && !kind.is_symlink() && !kind.is_hard_link() {
        return Ok(());
    }
    make_parent().map_err(text)?;
    if is_file {
        remove(path, to).map_err(text)?;
        let mut how = OpenOptions::new();
        let mut file = to.open_with(path, how.write(true).create_new(true)).map_err(text)?;
        return io::copy(entry, &mut file).map(|_| ()).map_err(text);
    }
    let target = entry.link_name_bytes().ok_or("a link must name its target")?;
    if kind.is_symlink() {
        remove(path, to).map_err(text)?;
        let target = Path::new(std::ffi::OsStr::from_bytes(&target));
        return to.symlink_contents(target, path).map_err(text);
    }
    let target = inner_path(&target)?;
    if target == path {
        return Ok(());
    }
    remove(path, to).map_err(text)?;
    to.hard_link(&target, to, path)
        .map_err(|error| format!("link to '{}': {error}", target.display()))
}

/// Makes a directory where there is none; one that is there keeps what it holds.
fn directory(path: &Path, to: &Dir) -> io::Result<()> {
    match to.symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => return Ok(()),
        Ok(_) => to.remove_file(path)?,
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(error),
    }
    to.create_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::io::Write as _;
    use tar::EntryType;

    /// An entry as a line: kind, path, and content or target.
    fn archive(lines: &[(char, &str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, path, content) in lines {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_mode(0);
            let (kind, data) = match kind {
                'f' => (EntryType::Regular, content.as_bytes()),
                'd' => (EntryType::Directory, &b""[..]),
                'l' => (EntryType::Symlink, &b""[..]),
                'h' => (EntryType::Link, &b""[..]),
                'b' => (EntryType::Block, &b""[..]),
                other => panic!("{other}"),
            };
            header.set_entry_type(kind);
            header.set_size(data.len() as u64);
            if kind.is_symlink() || kind.is_hard_link() {
                header.as_gnu_mut().unwrap().linkname[..content.len()]
                    .copy_from_slice(content.as_bytes());
            }
            header.set_cksum();
            builder.append(&header, data).unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// Unpacks layers and lists what is there: path, kind and content of each.
    fn check(layers: &[&[(char, &str, &str)]]) -> Result<Vec<String>, String> {
        let layers: Vec<_> = layers.iter().map(|layer| (archive(layer), "tar")).collect();
        unpacked(&layers)
    }

    fn unpacked(layers: &[(Vec<u8>, &str)]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let dir = Dir::open_ambient_dir(&root, cap_std::ambient_authority()).unwrap();
        let mut budget = Budget::of_image();
        let mut result = Ok(());
        for (index, (bytes, media_type)) in layers.iter().enumerate() {
            let blob = folder.path().join("blob");
            fs::write(&blob, bytes).unwrap();
            result = layer(&blob, media_type, &dir, &mut budget, index == 0);
            if result.is_err() {
                break;
            }
        }
        let mut outside: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        outside.sort();
        assert_eq!(outside, ["blob", "root"], "nothing lands outside");
        result.map(|()| listed(&root, ""))
    }

    fn listed(root: &Path, below: &str) -> Vec<String> {
        let mut all = Vec::new();
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().into_string().unwrap());
            let facts = entry.metadata().unwrap();
            if facts.is_dir() {
                all.push(format!("{name}/"));
                all.extend(listed(root, &format!("{name}/")));
            } else if facts.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                all.push(format!("{name} -> {}", target.display()));
            } else {
                all.push(format!("{name} {}", fs::read_to_string(entry.path()).unwrap()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn layers_lie_over_one_another() {
        let low: &[_] = &[('f', "app.wasm", "1"), ('f', "etc/a", "a"), ('f', "etc/b", "b")];
        let high: &[_] = &[('f', "app.wasm", "2"), ('f', "etc/.wh.a", "")];
        assert_eq!(check(&[low, high]).unwrap(), ["app.wasm 2", "etc/", "etc/b b"]);
        let replaced = check(&[low, &[('f', "etc", "file")]]).unwrap();
        assert_eq!(replaced, ["app.wasm 1", "etc file"]);
        let back = check(&[&[('f', "etc", "file")], &[('d', "etc/", ""), ('f', "etc/a", "a")]]);
        assert_eq!(back.unwrap(), ["etc/", "etc/a a"]);
    }

    #[test]
    fn an_opaque_directory_keeps_what_its_own_layer_brings() {
        let low: &[_] = &[('f', "etc/old", "o"), ('f', "etc/sub/x", "x")];
        for high in [
            [('f', "etc/.wh..wh..opq", ""), ('f', "etc/new", "n")],
            [('f', "etc/new", "n"), ('f', "etc/.wh..wh..opq", "")],
        ] {
            assert_eq!(check(&[low, &high]).unwrap(), ["etc/", "etc/new n"]);
        }
        let all = check(&[low, &[('f', ".wh..wh..opq", ""), ('f', "x", "x")]]).unwrap();
        assert_eq!(all, ["x x"]);
    }

    #[test]
    fn links_are_kept_and_never_followed_out() {
        let kept =
            check(&[&[('f', "a/f", "x"), ('l', "l", "/etc/passwd"), ('h', "h", "a/f")]]).unwrap();
        assert_eq!(kept, ["a/", "a/f x", "h x", "l -> /etc/passwd"]);
        for (target, file) in [("/tmp", "out/evil"), ("..", "out/evil"), ("../..", "out/evil")] {
            let why = check(&[&[('l', "out", target), ('f', file, "x")]]).unwrap_err();
            assert!(why.starts_with("entry 'out/evil': "), "{why}");
        }
        // A file takes the place of a link, it is not written through it.
        let over = check(&[&[('l', "l", "/etc/passwd"), ('f', "l", "mine")]]).unwrap();
        assert_eq!(over, ["l mine"]);
        let why = check(&[&[('h', "h", "/../../etc/passwd")]]).unwrap_err();
        assert!(why.contains("leads outside"), "{why}");
        let why = check(&[&[('l', "l", "/etc"), ('h', "h", "l/passwd")]]).unwrap_err();
        assert!(why.starts_with("entry 'h': link to 'l/passwd'"), "{why}");
    }

    #[test]
    fn what_leads_outside_is_refused_and_devices_are_left_out() {
        for path in ["../evil", "a/../../evil", "/../evil"] {
            let why = check(&[&[('f', path, "x")]]).unwrap_err();
            assert!(why.contains("leads outside of the image"), "{why}");
        }
        assert_eq!(check(&[&[('f', "/abs", "x"), ('b', "disk", "")]]).unwrap(), ["abs x"]);
        for name in ["a/.wh.", "a/.wh..", "a/.wh..."] {
            let why = check(&[&[('f', "a/f", "x")], &[('f', name, "")]]).unwrap_err();
            assert!(why.contains("a white-out must name"), "{why}");
        }
        let deep = vec!["d"; DEPTH_MAX + 1].join("/");
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut header, deep, &b""[..]).unwrap();
        let why = unpacked(&[(builder.into_inner().unwrap(), "tar")]).unwrap_err();
        assert!(why.contains("deeper than"), "{why}");
    }

    fn entry() -> impl Strategy<Value = (char, String, String)> {
        let name = prop::sample::select(vec![
            "a",
            "b",
            "..",
            ".",
            "",
            "etc",
            ".wh.a",
            ".wh..",
            ".wh...",
            ".wh..wh..opq",
            "\u{e4}",
        ]);
        let path = || {
            let names = prop::collection::vec(name.clone(), 1..6);
            (any::<bool>(), names).prop_map(|(absolute, names)| {
                let path = names.join("/");
                if absolute { format!("/{path}") } else { path }
            })
        };
        (prop::sample::select(vec!['f', 'd', 'l', 'h', 'b']), path(), path())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// `PROPTEST_CASES` makes it go on for longer. `unpacked` looks outside.
        #[test]
        fn no_entries_land_outside(
            layers in prop::collection::vec(prop::collection::vec(entry(), 1..12), 1..4),
        ) {
            let packed = layers.iter().map(|entries| {
                let entries: Vec<_> =
                    entries.iter().map(|(kind, path, to)| (*kind, &**path, &**to)).collect();
                (archive(&entries), "tar")
            });
            let _ = unpacked(&packed.collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_are_too_odd(
            bytes in prop::collection::vec(any::<u8>(), 0..4096),
            at in 0..1024_usize,
            kind in prop::sample::select(vec!["tar", "+gzip", "+zstd"]),
        ) {
            let _ = unpacked(&[(bytes.clone(), kind)]);
            // The same within an archive that begins well.
            let mut whole = archive(&[('f', "one", "1"), ('l', "two", "one"), ('f', "three", "3")]);
            let end = whole.len().min(at + bytes.len());
            let length = end - at;
            whole[at..end].copy_from_slice(&bytes[..length]);
            let _ = unpacked(&[(whole, "tar")]);
        }
    }

    #[test]
    fn archives_in_several_pieces_are_read_to_their_end() {
        let whole = archive(&[('f', "one", "1"), ('f', "two", "2")]);
        let (first, second) = whole.split_at(1024);
        let gzip = |bytes: &[u8]| {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            packed.write_all(bytes).unwrap();
            packed.finish().unwrap()
        };
        let zstd = |bytes: &[u8]| {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            ruzstd::encoding::compress_to_vec(bytes, level)
        };
        let skipped = [&0x184D_2A50_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        let want = ["one 1", "two 2"];
        assert_eq!(unpacked(&[([gzip(first), gzip(second)].concat(), "+gzip")]).unwrap(), want);
        let frames = [zstd(first), skipped, zstd(second)].concat();
        assert_eq!(unpacked(&[(frames, "+zstd")]).unwrap(), want);
    }

    /// A header of `size` bytes of `kind`, followed by so many zeros, packed.
    fn bomb(kind: EntryType, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(header.as_bytes()).unwrap();
        io::copy(&mut io::repeat(0).take(size.min(8 << 20)), &mut packed).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn bombs_are_refused_before_they_are_held_or_written() {
        let why = unpacked(&[(bomb(EntryType::Regular, ROOTFS_BYTES_MAX + 1), "+gzip")]);
        assert!(why.unwrap_err().contains("unpacks to more than"));
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let why = unpacked(&[(bomb(kind, HEADER_BYTES_MAX + 1), "+gzip")]).unwrap_err();
            assert!(why.contains("headers of an entry must have at most"), "{why}");
        }
    }
}
