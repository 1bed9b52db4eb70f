//! Volumes in the file system: made, filled, swapped, removed. Blocking calls.
//!
//! A volume of files holds `..data`, a link to a folder with the current content, and one link per
//! name to `..data/<name>`; a change writes a new folder and swaps the one link, so that a reader
//! sees all of the old set or all of the new one.
//!
//! *Source:* kubelet's `AtomicWriter`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::nfs;
use super::payload::{Content, Payload};

/// Where volumes are kept on this host.
#[derive(Clone, Debug)]
pub struct VolumeRoots {
    /// On disk; one folder per pod uid.
    pub disk: PathBuf,
    /// In a memory file system; one folder per pod uid.
    pub memory: PathBuf,
}

impl VolumeRoots {
    /// Gives the folder of a volume.
    #[must_use]
    pub fn place(&self, uid: &str, volume: &str, content: &Content) -> PathBuf {
        let root = match content {
            Content::Host { prefix, path, .. } => return prefix.join(path),
            Content::Persistent { place, .. } => return place.clone(),
            Content::Image { folder, .. } => return folder.clone(),
            Content::Files(payload) if payload.secret => &self.memory,
            Content::Empty { in_memory: true, .. } => &self.memory,
            Content::Files(_) | Content::Empty { .. } => &self.disk,
        };
        root.join(uid).join("volumes").join(volume)
    }

    /// Gives the folder on disk for a pod's copy-up layers and termination messages.
    #[must_use]
    pub fn scratch(&self, uid: &str) -> PathBuf {
        self.disk.join(uid).join("scratch")
    }

    /// Makes a volume be there with its content; `unique` names the new generation.
    ///
    /// # Errors
    /// What the file system says. Doing it again is safe.
    pub fn fill(
        &self,
        uid: &str,
        volume: &str,
        content: &Content,
        unique: u64,
    ) -> io::Result<PathBuf> {
        let place = self.place(uid, volume, content);
        match content {
            Content::Files(payload) => {
                make_private(&place)?;
                write(&place, payload, unique)?;
            }
            Content::Empty { .. } => make_private(&place)?,
            // Made by others: the driver, the store of images.
            Content::Persistent { place: folder, .. } | Content::Image { folder, .. } => {
                fs::metadata(folder).map(drop)?;
            }
            Content::Host { prefix, path, kind, .. } => check_host(prefix, path, kind)?,
        }
        Ok(place)
    }

    /// Removes everything a pod had, on disk and in memory.
    ///
    /// # Errors
    /// What the file system says, except that something is not there.
    pub fn remove(&self, uid: &str) -> io::Result<()> {
        for root in [&self.disk, &self.memory] {
            match coracle_runtime::mounts::remove_tree(&root.join(uid)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Lists the uids of which something is there.
    #[must_use]
    pub fn uids(&self) -> BTreeSet<String> {
        let list = |root: &PathBuf| fs::read_dir(root).into_iter().flatten().flatten();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
        list(&self.disk).chain(list(&self.memory)).filter_map(name).collect()
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Where a path of the host lies: a folder, and what is below it. A prefix that is a file lies in its own folder, of
/// which a pod gets this file alone.
pub(super) fn anchor(prefix: &Path, path: &str) -> (PathBuf, String) {
    let file = fs::canonicalize(prefix).ok().filter(|place| path.is_empty() && place.is_file());
    let parts =
        file.as_deref().and_then(|file| Some((file.parent()?, file.file_name()?.to_str()?)));
    parts.map_or_else(
        || (prefix.to_owned(), path.to_owned()),
        |(folder, name)| (folder.to_owned(), name.to_owned()),
    )
}

/// Makes a path of the host be what the volume says, without leaving the prefix by a link.
fn check_host(prefix: &Path, path: &str, kind: &str) -> io::Result<()> {
    use cap_std::fs::{Dir, OpenOptions};
    let (prefix, path) = anchor(prefix, path);
    let path = if path.is_empty() { "." } else { path.as_str() };
    let root = Dir::open_ambient_dir(&prefix, cap_std::ambient_authority()).map_err(|error| {
        let text = format!("open {} of this host: {error}", prefix.display());
        io::Error::new(error.kind(), text)
    })?;
    let wrong = |what: &str| {
        let place = prefix.join(path);
        let text = format!("hostPath type check failed: {} is not a {what}", place.display());
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    };
    match kind {
        "DirectoryOrCreate" => root.create_dir_all(path),
        "FileOrCreate" => {
            root.open_with(path, OpenOptions::new().create(true).append(true)).map(|_| ())
        }
        "Directory" if !root.is_dir(path) => wrong("directory"),
        nfs::KIND if !root.is_dir(path) => {
            let text = format!("the share in {} has no folder {path}", prefix.display());
            Err(io::Error::new(io::ErrorKind::NotFound, text))
        }
        "File" if !root.is_file(path) => wrong("file"),
        _ => root.metadata(path).map(|_| ()),
    }
}

/// Makes `place` show exactly the files of `payload`; does nothing when it does already.
fn write(place: &Path, payload: &Payload, unique: u64) -> io::Result<()> {
    let current = fs::read_link(place.join("..data")).ok();
    if let Some(current) = &current
        && holds(&place.join(current), payload)
    {
        return Ok(());
    }
    let generation = format!("..{unique:016x}");
    let folder = place.join(&generation);
    for (path, file) in &payload.files {
        let path = folder.join(path);
        make_private(path.parent().unwrap_or(&folder))?;
        let mut options = fs::OpenOptions::new();
        let mut out = options.create_new(true).write(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut out, &file.bytes)?;
        out.set_permissions(fs::Permissions::from_mode(file.mode))?;
    }
    make_private(&folder)?;
    let beside = place.join("..data_tmp");
    let _ = fs::remove_file(&beside);
    symlink(&generation, &beside)?;
    fs::rename(&beside, place.join("..data"))?;
    link_names(place, payload)?;
    if let Some(old) = current {
        let _ = fs::remove_dir_all(place.join(old));
    }
    Ok(())
}

/// One link per first path component; links of names that are gone are removed.
fn link_names(place: &Path, payload: &Payload) -> io::Result<()> {
    let first = |path: &String| path.split('/').next().map(str::to_owned);
    let names: BTreeSet<String> = payload.files.keys().filter_map(first).collect();
    for entry in fs::read_dir(place)?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with("..") && !names.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in names {
        let link = place.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(&name), link)?;
        }
    }
    Ok(())
}

fn holds(folder: &Path, payload: &Payload) -> bool {
    let same = payload.files.iter().all(|(path, file)| {
        let path = folder.join(path);
        let mode = fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o777);
        mode.is_ok_and(|mode| mode == file.mode) && fs::read(&path).is_ok_and(|b| b == file.bytes)
    });
    same && count(folder) == payload.files.len()
}

fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::payload::File;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| File { bytes: text.into(), mode: 0o644 };
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect();
        Payload { files, secret: false }
    }

    fn show(place: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(place)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| !name.starts_with(".."))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_change_swaps_the_whole_set_and_leaves_no_rest() {
        let dir = tempfile::tempdir().unwrap();
        let roots = VolumeRoots { disk: dir.path().join("d"), memory: dir.path().join("m") };
        let first = Content::Files(payload(&[("a", "1"), ("b/c", "2")]));
        let place = roots.fill("u", "v", &first, 1).unwrap();
        assert_eq!(show(&place), ["a", "b"]);
        assert_eq!(fs::read_to_string(place.join("b/c")).unwrap(), "2");
        let generation = fs::read_link(place.join("..data")).unwrap();
        roots.fill("u", "v", &first, 2).unwrap();
        assert_eq!(fs::read_link(place.join("..data")).unwrap(), generation);
        roots.fill("u", "v", &Content::Files(payload(&[("a", "3")])), 3).unwrap();
        assert_eq!(show(&place), ["a"]);
        assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "3");
        assert!(!place.join(generation).exists());
        roots.remove("u").unwrap();
        assert!(roots.uids().is_empty());
    }

    #[test]
    fn a_host_path_never_leaves_its_prefix_by_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (prefix, outside) = (dir.path().join("srv"), dir.path().join("outside"));
        fs::create_dir_all(&prefix).unwrap();
        fs::create_dir_all(&outside).unwrap();
        symlink("../outside", prefix.join("link")).unwrap();
        let roots = VolumeRoots { disk: dir.path().join("d"), memory: dir.path().join("m") };
        let fill = |path: &str, kind: &str| {
            let content = Content::Host {
                prefix: prefix.clone(),
                path: path.into(),
                kind: kind.into(),
                read_only: false,
            };
            roots.fill("u", "v", &content, 1).is_ok()
        };
        assert!(fill("new/dir", "DirectoryOrCreate") && prefix.join("new/dir").is_dir());
        assert!(fill("", "Directory"));
        assert!(!fill("none", ""));
        assert!(!fill("link", ""));
        assert!(!fill("link/x", "DirectoryOrCreate") && !outside.join("x").exists());
    }

    #[test]
    fn a_prefix_may_be_a_file_and_is_that_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        let (file, link) = (real.join("hosts"), real.join("link"));
        fs::write(&file, "1").unwrap();
        symlink("hosts", &link).unwrap();
        for prefix in [&file, &link] {
            assert_eq!(anchor(prefix, ""), (real.clone(), "hosts".to_owned()));
            assert_eq!(anchor(prefix, "x"), (prefix.clone(), "x".to_owned()));
        }
        assert_eq!(anchor(&real, ""), (real.clone(), String::new()));
        let roots = VolumeRoots { disk: real.join("d"), memory: real.join("m") };
        let fill = |prefix: &Path, path: &str, kind: &str| {
            let (prefix, path, kind) = (prefix.to_owned(), path.to_owned(), kind.to_owned());
            let content = Content::Host { prefix, path, kind, read_only: false };
            roots.fill("u", "v", &content, 1).map_err(|error| error.to_string())
        };
        for kind in ["", "File", "FileOrCreate"] {
            assert!(fill(&file, "", kind).is_ok(), "{kind}");
        }
        let refused = fill(&file, "", "Directory").unwrap_err();
        assert!(refused.ends_with("hosts is not a directory"), "{refused}");
        assert!(fill(&file, "beside", "FileOrCreate").is_err() && !real.join("beside").exists());
    }

    #[test]
    fn secrets_are_kept_in_memory_alone() {
        let roots = VolumeRoots { disk: "/d".into(), memory: "/m".into() };
        let secret = Content::Files(Payload { secret: true, ..payload(&[]) });
        assert!(roots.place("u", "v", &secret).starts_with("/m"));
    }
}
